// The loops of float parts on ymm registers.
#include "base/x86/ymm_floats.h"
#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Ymm : YmmFloats {
  static constexpr int kTileRows = 6, kTileVectors = 2;

  static Floats first_of(Floats value, std::int64_t count) {
    return count >= kWidth ? value : _mm256_and_ps(value, _mm256_castsi256_ps(first(count)));
  }
  static Floats first_or_least(Floats value, std::int64_t count) {
    const Floats least = all(-std::numeric_limits<float>::infinity());
    return count >= kWidth ? value : _mm256_blendv_ps(least, value, _mm256_castsi256_ps(first(count)));
  }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats scaled(Floats value, Floats power) {  // into the exponent, which has room: value is about 1
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(power), 23);
    const Floats result = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), exponent));
    return _mm256_blendv_ps(result, value, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  }
  static Floats zero_below(Floats value, Floats x, Floats limit) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), value);
  }
  static Floats if_negative(Floats x, Floats yes, Floats no) { return _mm256_blendv_ps(no, yes, x); }
};

}  // namespace

const FloatLoops kAvx2Floats = loops_on<Ymm>(Isa::kAvx2);

}  // namespace oaq
