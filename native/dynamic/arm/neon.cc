// The loops of dynamic layers on NEON.
#include <arm_neon.h>

#include "dynamic/vector_loops.h"

namespace oaq {
namespace {

struct Neon {
  using Floats = float32x4_t;
  using Integers = int32x4_t;
  static constexpr int kWidth = 4;

  static Floats all(float value) { return vdupq_n_f32(value); }
  static Integers all(std::int32_t value) { return vdupq_n_s32(value); }
  static Floats load(const float* from) { return vld1q_f32(from); }
  static Integers load(const std::int32_t* from) { return vld1q_s32(from); }
  static Floats load_some(const float* from, std::int64_t count) {
    float some[kWidth] = {};
    std::memcpy(some, from, bytes_of(count));
    return load(some);
  }
  static void store(float* to, Floats value) { vst1q_f32(to, value); }
  static void store_some(float* to, Floats value, std::int64_t count) {
    float all_of_them[kWidth];
    store(all_of_them, value);
    std::memcpy(to, all_of_them, bytes_of(count));
  }
  static std::size_t bytes_of(std::int64_t count) {
    return static_cast<std::size_t>(count < kWidth ? count : kWidth) * sizeof(float);
  }
  // The second of both if either is NaN, which FMIN and FMINNM would not give.
  static Floats min(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static Floats max(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Integers add(Integers a, Integers b) { return vaddq_s32(a, b); }
  static Integers sub(Integers a, Integers b) { return vsubq_s32(a, b); }
  static Integers mul(Integers a, Integers b) { return vmulq_s32(a, b); }
  static Floats to_floats(Integers value) { return vcvtq_f32_s32(value); }
  static Integers to_integers(Floats value) { return vcvtnq_s32_f32(value); }
  static Floats round(Floats value) { return vrndnq_f32(value); }
  static Floats distance(Floats a, Floats b) { return vabdq_f32(a, b); }
  static bool has_nan(Floats value) { return vminvq_u32(vceqq_f32(value, value)) == 0; }
  static bool all_below(Floats a, Floats b, Floats c, Floats d, float limit) {
    const Floats most = all(limit);
    const uint32x4_t ab = vandq_u32(vcleq_f32(a, most), vcleq_f32(b, most));
    const uint32x4_t cd = vandq_u32(vcleq_f32(c, most), vcleq_f32(d, most));
    return vminvq_u32(vandq_u32(ab, cd)) != 0;
  }
  // Integers in [0, 255].
  static void store_bytes(std::uint8_t* to, Integers a, Integers b, Integers c, Integers d) {
    const uint8x8_t low = vqmovun_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b)));
    vst1q_u8(to, vqmovun_high_s16(low, vcombine_s16(vmovn_s32(c), vmovn_s32(d))));
  }
};

}  // namespace

const DynamicLoops kNeonLoops{Isa::kNeon, vector_extremes<Neon>, vector_quantize<Neon>, vector_leave<Neon>};

}  // namespace oaq
