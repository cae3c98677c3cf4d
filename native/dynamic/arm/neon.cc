// The loops of dynamic layers on NEON.
#include "base/arm/neon_floats.h"
#include "dynamic/vector_loops.h"

namespace oaq {
namespace {

struct Neon : NeonFloats {
  using Integers = int32x4_t;
  using NeonFloats::add, NeonFloats::all, NeonFloats::load, NeonFloats::mul, NeonFloats::sub;

  static Integers all(std::int32_t value) { return vdupq_n_s32(value); }
  static Integers load(const std::int32_t* from) { return vld1q_s32(from); }
  static Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
  static Integers add(Integers a, Integers b) { return vaddq_s32(a, b); }
  static Integers sub(Integers a, Integers b) { return vsubq_s32(a, b); }
  static Integers mul(Integers a, Integers b) { return vmulq_s32(a, b); }
  static Floats to_floats(Integers value) { return vcvtq_f32_s32(value); }
  static Integers to_integers(Floats value) { return vcvtnq_s32_f32(value); }
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
