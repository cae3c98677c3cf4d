// The loops of float parts on NEON.
#include <arm_neon.h>

#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Neon {
  using Floats = float32x4_t;
  static constexpr int kWidth = 4, kTileRows = 8, kTileVectors = 2;

  static Floats all(float value) { return vdupq_n_f32(value); }
  static Floats load(const float* from) { return vld1q_f32(from); }
  static Floats load_some(const float* from, std::int64_t count) {
    float some[kWidth] = {};
    for (int i = 0; i < kWidth && i < count; ++i) some[i] = from[i];
    return load(some);
  }
  static void store(float* to, Floats value) { vst1q_f32(to, value); }
  static void store_some(float* to, Floats value, std::int64_t count) {
    float parts[kWidth];
    store(parts, value);
    for (int i = 0; i < kWidth && i < count; ++i) to[i] = parts[i];
  }
  static Floats first_of(Floats value, std::int64_t count) { return kept(value, count, 0.0f); }
  static Floats first_or_least(Floats value, std::int64_t count) {
    return kept(value, count, -std::numeric_limits<float>::infinity());
  }
  static Floats kept(Floats value, std::int64_t count, float remainder) {
    if (count >= kWidth) return value;
    float parts[kWidth];
    store(parts, value);
    for (std::int64_t i = count; i < kWidth; ++i) parts[i] = remainder;
    return load(parts);
  }
  // The second of both if either is NaN, which FMIN and FMINNM would not give.
  static Floats min(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static Floats max(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static Floats abs(Floats value) { return vabsq_f32(value); }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  static Floats round(Floats value) { return vrndnq_f32(value); }
  static Floats scaled(Floats value, Floats power) {  // into the exponent, which has room: value is about 1
    const int32x4_t exponent = vshlq_n_s32(vcvtnq_s32_f32(power), 23);
    const Floats result = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(value), exponent));
    return vbslq_f32(vceqq_f32(value, value), result, value);
  }
  static Floats zero_below(Floats value, Floats x, Floats limit) {
    return vbslq_f32(vcltq_f32(x, limit), all(0.0f), value);
  }
  static Floats if_negative(Floats x, Floats yes, Floats no) {
    return vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(x)), yes, no);
  }
};

}  // namespace

const FloatLoops kNeonFloats = loops_on<Neon>(Isa::kNeon);

}  // namespace oaq
