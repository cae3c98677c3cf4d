// The loops of float parts on ymm registers.
#include <immintrin.h>

#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Ymm {
  using Floats = __m256;
  static constexpr int kWidth = 8, kTileRows = 6, kTileVectors = 2;

  static Floats all(float value) { return _mm256_set1_ps(value); }
  static Floats load(const float* from) { return _mm256_loadu_ps(from); }
  static __m256i first(std::int64_t count) {  // all bits of the first `count` elements
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<std::int32_t>(count < kWidth ? count : kWidth)), index);
  }
  static Floats load_some(const float* from, std::int64_t count) { return _mm256_maskload_ps(from, first(count)); }
  static void store(float* to, Floats value) { _mm256_storeu_ps(to, value); }
  static void store_some(float* to, Floats value, std::int64_t count) { _mm256_maskstore_ps(to, first(count), value); }
  static Floats first_of(Floats value, std::int64_t count) {
    return count >= kWidth ? value : _mm256_and_ps(value, _mm256_castsi256_ps(first(count)));
  }
  static Floats first_or_least(Floats value, std::int64_t count) {
    const Floats least = all(-std::numeric_limits<float>::infinity());
    return count >= kWidth ? value : _mm256_blendv_ps(least, value, _mm256_castsi256_ps(first(count)));
  }
  static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  static Floats abs(Floats value) { return _mm256_andnot_ps(all(-0.0f), value); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats round(Floats value) { return _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
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
