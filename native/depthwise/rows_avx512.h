// What the AVX-512 depthwise rows share: s32 sums of 64 channels, and how they leave. Included by files built for
// AVX-512 only; everything is in an unnamed namespace, so that each has its own.
#pragma once

#include <immintrin.h>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {
namespace avx512 {

constexpr int kTile = 64;

struct Sums {
  __m512i a, b, c, d;
};

inline __m512i load(const void* from) { return _mm512_loadu_si512(from); }

inline Sums biased(const std::int32_t* bias) { return {load(bias), load(bias + 16), load(bias + 32), load(bias + 48)}; }

inline __m512i scaled(__m512i sums, const float* scale, __m512 hi) {
  return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(scale)), hi));
}

inline void store(const DepthwiseCall& call, const Sums& sums, std::uint8_t* y) {
  const __m512 hi = _mm512_set1_ps(call.how.hi);
  const __m512i zero = _mm512_set1_epi16(static_cast<short>(call.how.zero));
  const __m512i low = _mm512_packs_epi32(scaled(sums.a, call.scale, hi), scaled(sums.b, call.scale + 16, hi));
  const __m512i high = _mm512_packs_epi32(scaled(sums.c, call.scale + 32, hi), scaled(sums.d, call.scale + 48, hi));
  const __m512i bytes =
      _mm512_max_epu8(_mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero)),
                      _mm512_set1_epi8(static_cast<char>(call.how.clamp_lo)));
  _mm512_mask_storeu_epi8(y, ~__mmask64{0} >> (kTile - call.channels), bytes);
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

template <typename Sum>
inline void outputs(const DepthwiseCall& call, Sum sum) {
  // Copies, so that stores to y are known not to change them.
  const DepthwiseCall own = call;
  for (int output = 0; output < own.outputs; ++output) {
    const Sums sums = sum(own, output * own.x_step);
    if (own.sums)
      write(sums, own.sums + static_cast<std::ptrdiff_t>(output) * kTile);
    else
      store(own, sums, own.y + output * own.y_stride);
  }
}

// kSquare3 and kSquare5 are the steps of 3x3 and 5x5 windows, which nearly all depthwise layers have.
template <typename Rule, int kSquare3, int kSquare5>
inline void row(const DepthwiseCall& call) {
  const int steps = call.run_count == 1 ? call.runs[0] : 0;
  if (steps == kSquare3)
    outputs(call, [](const DepthwiseCall& c, std::ptrdiff_t at) { return Rule::template one_run<kSquare3>(c, at); });
  else if (steps == kSquare5)
    outputs(call, [](const DepthwiseCall& c, std::ptrdiff_t at) { return Rule::template one_run<kSquare5>(c, at); });
  else
    outputs(call, [](const DepthwiseCall& c, std::ptrdiff_t at) { return Rule::any(c, at); });
}

}  // namespace avx512
}  // namespace
}  // namespace oaq
