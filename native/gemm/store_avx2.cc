#include <immintrin.h>

#include <cstring>

#include "gemm/stores.h"

namespace oaq {
namespace {

constexpr int kTile = 16;

// s32 sums to rounded s32, cut off above. Too small a value becomes INT32_MIN and is cut off by the saturating packs.
inline __m256i scaled(const std::int32_t* sums, const float* scale, __m256 hi) {
  const __m256 real = _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums)));
  return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(real, _mm256_loadu_ps(scale)), hi));
}

}  // namespace

void gemm_store_avx2(const std::int32_t* sums, int rows, int columns, const FloatRequant& how, std::uint8_t* y,
                     std::ptrdiff_t y_stride) {
  const __m256 hi = _mm256_set1_ps(how.hi);
  const __m128i zero = _mm_set1_epi16(static_cast<short>(how.zero));
  const __m128i lo = _mm_set1_epi8(static_cast<char>(how.clamp_lo));
  for (int row = 0; row < rows; ++row, sums += kTile, y += y_stride) {
    const __m256i low = scaled(sums, how.scale, hi), high = scaled(sums + 8, how.scale + 8, hi);
    const __m128i first = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    const __m128i second = _mm_packs_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
    const __m128i bytes = _mm_max_epu8(_mm_packus_epi16(_mm_adds_epi16(first, zero), _mm_adds_epi16(second, zero)), lo);
    if (columns == kTile) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y), bytes);
    } else if (columns == 8) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(y), bytes);
    } else {
      alignas(16) std::uint8_t all[kTile];
      _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
      std::memcpy(y, all, static_cast<std::size_t>(columns));
    }
  }
}

}  // namespace oaq
