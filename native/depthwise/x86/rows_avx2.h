// What the rows on ymm registers share: s32 sums of 32 channels, and how they leave. Included by files built for AVX2
// or a set that extends it; everything is in an unnamed namespace, so that each has its own.
#pragma once

#include <immintrin.h>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

struct Sums {
  static constexpr int kTile = 32;
  __m256i a, b, c, d;

  static void store(__m256i bytes, std::uint8_t* y) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes); }

  static Sums biased(const std::int32_t* bias) {
    return {load(bias), load(bias + 8), load(bias + 16), load(bias + 24)};
  }
};

inline __m256i scaled(__m256i sums, const float* scale) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale)));
}

// Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps.
inline __m256i packed(const DepthwiseCall& call, const Sums& sums) {
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(call.zero));
  const __m256i low = _mm256_packs_epi32(scaled(sums.a, call.scale), scaled(sums.b, call.scale + 8));
  const __m256i high = _mm256_packs_epi32(scaled(sums.c, call.scale + 16), scaled(sums.d, call.scale + 24));
  __m256i bytes = _mm256_packus_epi16(_mm256_adds_epi16(low, zero), _mm256_adds_epi16(high, zero));
  bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(static_cast<char>(call.lo)));
  return _mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(call.hi)));
}

// The s32 sums in the order of channels.
inline void write(const Sums& sums, std::int32_t* to) {
  const __m256i all[4] = {sums.a, sums.b, sums.c, sums.d};
  for (int j = 0; j < 4; ++j) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4 * j), _mm256_castsi256_si128(all[j]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 + 4 * j), _mm256_extracti128_si256(all[j], 1));
  }
}

}  // namespace
}  // namespace oaq
