// What the AVX-512 depthwise rows share: 4 x 16 s32 sums of 64 channels, **exact** because totals are proved in s32,
// and how they leave: through float32, or packed, which **saturates** twice and changes nothing that the clamp keeps.
// Included by files built for AVX-512 only; everything is in an unnamed namespace, so that each has its own.
#pragma once

#include <immintrin.h>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {

inline __m512i load(const void* from) { return _mm512_loadu_si512(from); }

struct Sums {
  static constexpr int kTile = 64;
  __m512i a, b, c, d;

  static void store(__m512i bytes, std::uint8_t* y) { _mm512_storeu_si512(y, bytes); }

  static Sums biased(const std::int32_t* bias) {
    return {load(bias), load(bias + 16), load(bias + 32), load(bias + 48)};
  }
};

inline __m512i scaled(__m512i sums, const float* scale) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(scale)));
}

// Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps.
inline __m512i packed(const DepthwiseCall& call, const Sums& sums) {
  const __m512i zero = _mm512_set1_epi16(static_cast<short>(call.zero));
  const __m512i low = _mm512_packs_epi32(scaled(sums.a, call.scale), scaled(sums.b, call.scale + 16));
  const __m512i high = _mm512_packs_epi32(scaled(sums.c, call.scale + 32), scaled(sums.d, call.scale + 48));
  __m512i bytes = _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero));
  bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(call.lo)));
  return _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(call.hi)));
}

// The s32 sums in the order of channels.
inline void write(const Sums& sums, std::int32_t* to) {
  const __m512i all[4] = {sums.a, sums.b, sums.c, sums.d};
  for (int j = 0; j < 4; ++j) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4 * j), _mm512_castsi512_si128(all[j]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 + 4 * j), _mm512_extracti32x4_epi32(all[j], 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32 + 4 * j), _mm512_extracti32x4_epi32(all[j], 2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 48 + 4 * j), _mm512_extracti32x4_epi32(all[j], 3));
  }
}

}  // namespace
}  // namespace oaq
