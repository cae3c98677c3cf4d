// Floats in ymm registers: what loops of float parts and of dynamic layers both do with them. Included by files built
// for one instruction set each; everything is in an unnamed namespace, so that each has its own. min and max give the
// second operand where the first is NaN.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace oaq {
namespace {

struct YmmFloats {
  using Floats = __m256;
  static constexpr int kWidth = 8;

  static Floats all(float value) { return _mm256_set1_ps(value); }
  static Floats load(const float* from) { return _mm256_loadu_ps(from); }
  static __m256i first(std::int64_t count) {  // all bits of the first `count` elements
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<std::int32_t>(count < kWidth ? count : kWidth)), index);
  }
  static Floats load_some(const float* from, std::int64_t count) { return _mm256_maskload_ps(from, first(count)); }
  static void store(float* to, Floats value) { _mm256_storeu_ps(to, value); }
  static void store_some(float* to, Floats value, std::int64_t count) { _mm256_maskstore_ps(to, first(count), value); }
  static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  static Floats abs(Floats value) { return _mm256_andnot_ps(all(-0.0f), value); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats round(Floats value) { return _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
};

}  // namespace
}  // namespace oaq
