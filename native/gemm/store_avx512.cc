#include <immintrin.h>

#include "gemm/stores.h"

namespace oaq {
namespace {

constexpr int kTile = 32;

// 16 sums to bytes: cut off above before they become integers, below by the saturating conversions.
inline __m128i requantized(const std::int32_t* sums, const float* scale, __m512 hi, __m512i zero, __m512i lo) {
  const __m512 real = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums));
  const __m512i whole = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_mul_ps(real, _mm512_loadu_ps(scale)), hi));
  return _mm512_cvtusepi32_epi8(_mm512_add_epi32(_mm512_max_epi32(whole, lo), zero));
}

}  // namespace

void gemm_store_avx512(const std::int32_t* sums, int rows, int columns, const FloatRequant& how, std::uint8_t* y,
                       std::ptrdiff_t y_stride) {
  const __m512 hi = _mm512_set1_ps(how.hi);
  const __m512i zero = _mm512_set1_epi32(how.zero);
  const __m512i lo = _mm512_set1_epi32(static_cast<int>(how.clamp_lo) - how.zero);
  const int second = columns - 16;
  const auto mask = static_cast<__mmask16>(second >= 0 ? 0xffff : (1 << columns) - 1);
  const auto more = static_cast<__mmask16>(second > 0 ? (1 << second) - 1 : 0);
  for (int row = 0; row < rows; ++row, sums += kTile, y += y_stride) {
    _mm_mask_storeu_epi8(y, mask, requantized(sums, how.scale, hi, zero, lo));
    if (more) _mm_mask_storeu_epi8(y + 16, more, requantized(sums + 16, how.scale + 16, hi, zero, lo));
  }
}

}  // namespace oaq
