#include <immintrin.h>

#include <cstring>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {

constexpr int kTile = 32;

struct Sums {
  __m256i a, b, c, d;
};

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

inline __m256i at(const std::int32_t* values, int j) { return load(values + 8 * j); }

inline Sums biased(const std::int32_t* bias) { return {at(bias, 0), at(bias, 1), at(bias, 2), at(bias, 3)}; }

// s16 lanes to s32 and added: interleaving a value with itself and shifting extends its sign, within 128-bit lanes.
inline void spill(Sums& sums, __m256i low, __m256i high) {
  sums.a = _mm256_add_epi32(sums.a, _mm256_srai_epi32(_mm256_unpacklo_epi16(low, low), 16));
  sums.b = _mm256_add_epi32(sums.b, _mm256_srai_epi32(_mm256_unpackhi_epi16(low, low), 16));
  sums.c = _mm256_add_epi32(sums.c, _mm256_srai_epi32(_mm256_unpacklo_epi16(high, high), 16));
  sums.d = _mm256_add_epi32(sums.d, _mm256_srai_epi32(_mm256_unpackhi_epi16(high, high), 16));
}

// One step: a pair of taps into the two registers of s16 sums.
inline void add_pair(const DepthwiseCall& call, std::ptrdiff_t at, int step, __m256i& low, __m256i& high) {
  const __m256i x = load(call.x[2 * step] + at), z = load(call.x[2 * step + 1] + at);
  const auto* w = static_cast<const std::int8_t*>(call.weights) + 2 * kTile * step;
  low = _mm256_add_epi16(low, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(x, z), load(w)));
  high = _mm256_add_epi16(high, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x, z), load(w + kTile)));
}

struct Sums16 {
  static inline Sums any(const DepthwiseCall& call, std::ptrdiff_t at) {
    Sums sums = biased(call.bias);
    for (int run = 0, step = 0; run < call.run_count; ++run) {
      __m256i low = _mm256_setzero_si256(), high = low;
      for (const int end = step + call.runs[run]; step < end; ++step) add_pair(call, at, step, low, high);
      spill(sums, low, high);
    }
    return sums;
  }

  // All steps in one run, their number known: weights stay in registers from one output to the next where they fit.
  template <int kSteps>
  static inline Sums one_run(const DepthwiseCall& call, std::ptrdiff_t at) {
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int step = 0; step < kSteps; ++step) add_pair(call, at, step, low, high);
    Sums sums = biased(call.bias);
    spill(sums, low, high);
    return sums;
  }
};

// One step: a pair of taps, widened, into the four registers of s32 sums.
inline void add_wide_pair(const DepthwiseCall& call, std::ptrdiff_t at, int step, Sums& sums) {
  const __m256i x = load(call.x[2 * step] + at), z = load(call.x[2 * step + 1] + at), none = _mm256_setzero_si256();
  const __m256i low = _mm256_unpacklo_epi8(x, z), high = _mm256_unpackhi_epi8(x, z);
  const auto* w = static_cast<const std::int16_t*>(call.weights) + 2 * kTile * step;
  sums.a = _mm256_add_epi32(sums.a, _mm256_madd_epi16(_mm256_unpacklo_epi8(low, none), load(w)));
  sums.b = _mm256_add_epi32(sums.b, _mm256_madd_epi16(_mm256_unpackhi_epi8(low, none), load(w + 16)));
  sums.c = _mm256_add_epi32(sums.c, _mm256_madd_epi16(_mm256_unpacklo_epi8(high, none), load(w + 32)));
  sums.d = _mm256_add_epi32(sums.d, _mm256_madd_epi16(_mm256_unpackhi_epi8(high, none), load(w + 48)));
}

struct Sums32 {
  static inline Sums any(const DepthwiseCall& call, std::ptrdiff_t at) {
    Sums sums = biased(call.bias);
    for (int run = 0, step = 0; run < call.run_count; ++run)
      for (const int end = step + call.runs[run]; step < end; ++step) add_wide_pair(call, at, step, sums);
    return sums;
  }

  template <int kSteps>
  static inline Sums one_run(const DepthwiseCall& call, std::ptrdiff_t at) {
    Sums sums = biased(call.bias);
    for (int step = 0; step < kSteps; ++step) add_wide_pair(call, at, step, sums);
    return sums;
  }
};

inline __m256i scaled(__m256i sums, const float* scale, __m256 hi) {
  return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale)), hi));
}

inline void store(const DepthwiseCall& call, const Sums& sums, std::uint8_t* y) {
  const __m256 hi = _mm256_set1_ps(call.how.hi);
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(call.how.zero));
  const __m256i low = _mm256_packs_epi32(scaled(sums.a, call.scale, hi), scaled(sums.b, call.scale + 8, hi));
  const __m256i high = _mm256_packs_epi32(scaled(sums.c, call.scale + 16, hi), scaled(sums.d, call.scale + 24, hi));
  const __m256i bytes =
      _mm256_max_epu8(_mm256_packus_epi16(_mm256_adds_epi16(low, zero), _mm256_adds_epi16(high, zero)),
                      _mm256_set1_epi8(static_cast<char>(call.how.clamp_lo)));
  if (call.channels == kTile) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes);
  } else {
    alignas(32) std::uint8_t all[kTile];
    _mm256_store_si256(reinterpret_cast<__m256i*>(all), bytes);
    std::memcpy(y, all, static_cast<std::size_t>(call.channels));
  }
}

// The s32 sums in the order of channels.
inline void write(const Sums& sums, std::int32_t* to) {
  const __m256i all[4] = {sums.a, sums.b, sums.c, sums.d};
  for (int j = 0; j < 4; ++j) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4 * j), _mm256_castsi256_si128(all[j]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 + 4 * j), _mm256_extracti128_si256(all[j], 1));
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

}  // namespace

void depthwise_avx2_acc16(const DepthwiseCall& call) { row<Sums16, 5, 13>(call); }
void depthwise_avx2_exact(const DepthwiseCall& call) { row<Sums32, 5, 13>(call); }

}  // namespace oaq
