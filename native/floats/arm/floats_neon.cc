// The loops of float parts on NEON.
#include "base/arm/neon_floats.h"
#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Neon : NeonFloats {
  static constexpr int kTileRows = 8, kTileVectors = 2;

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
  static Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
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
