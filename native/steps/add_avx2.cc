#include "steps/add_avx2.h"

#include <immintrin.h>

namespace oaq {
namespace {

// Eight of x as (x - zero) * scale, rounded once.
inline __m256 real(const std::uint8_t* x, __m256i zero, __m256 scale) {
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(wide, zero)), scale);
}

}  // namespace

std::size_t add_avx2(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& how,
                     std::uint8_t* y) {
  const __m256 a_scale = _mm256_set1_ps(how.a_scale), b_scale = _mm256_set1_ps(how.b_scale);
  const __m256i a_zero = _mm256_set1_epi32(how.a_zero), b_zero = _mm256_set1_epi32(how.b_zero);
  const __m256 hi = _mm256_set1_ps(how.hi);
  const __m128i zero = _mm_set1_epi16(static_cast<short>(how.zero));
  const __m128i lo = _mm_set1_epi8(static_cast<char>(how.clamp_lo));
  const auto eight = [&](std::size_t at) {
    const __m256 sum = _mm256_add_ps(real(a + at, a_zero, a_scale), real(b + at, b_zero, b_scale));
    const __m256i whole = _mm256_cvtps_epi32(_mm256_min_ps(sum, hi));
    return _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  };
  std::size_t at = 0;
  for (; at + 16 <= count; at += 16) {
    const __m128i low = _mm_adds_epi16(eight(at), zero), high = _mm_adds_epi16(eight(at + 8), zero);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + at), _mm_max_epu8(_mm_packus_epi16(low, high), lo));
  }
  return at;
}

}  // namespace oaq
