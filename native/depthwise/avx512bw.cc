#include <immintrin.h>

#include "depthwise/depthwise.h"
#include "depthwise/rows_avx512.h"

namespace oaq {
namespace {

using namespace avx512;

inline void spill(Sums& sums, __m512i low, __m512i high) {
  sums.a = _mm512_add_epi32(sums.a, _mm512_srai_epi32(_mm512_unpacklo_epi16(low, low), 16));
  sums.b = _mm512_add_epi32(sums.b, _mm512_srai_epi32(_mm512_unpackhi_epi16(low, low), 16));
  sums.c = _mm512_add_epi32(sums.c, _mm512_srai_epi32(_mm512_unpacklo_epi16(high, high), 16));
  sums.d = _mm512_add_epi32(sums.d, _mm512_srai_epi32(_mm512_unpackhi_epi16(high, high), 16));
}

// One step: a pair of taps into the two registers of s16 sums.
inline void add_pair(const DepthwiseCall& call, std::ptrdiff_t at, int step, __m512i& low, __m512i& high) {
  const __m512i x = load(call.x[2 * step] + at), z = load(call.x[2 * step + 1] + at);
  const auto* w = static_cast<const std::int8_t*>(call.weights) + 2 * kTile * step;
  low = _mm512_add_epi16(low, _mm512_maddubs_epi16(_mm512_unpacklo_epi8(x, z), load(w)));
  high = _mm512_add_epi16(high, _mm512_maddubs_epi16(_mm512_unpackhi_epi8(x, z), load(w + kTile)));
}

struct Sums16 {
  static inline Sums any(const DepthwiseCall& call, std::ptrdiff_t at) {
    Sums sums = biased(call.bias);
    for (int run = 0, step = 0; run < call.run_count; ++run) {
      __m512i low = _mm512_setzero_si512(), high = low;
      for (const int end = step + call.runs[run]; step < end; ++step) add_pair(call, at, step, low, high);
      spill(sums, low, high);
    }
    return sums;
  }

  // All steps in one run, their number known: weights stay in registers from one output to the next where they fit.
  template <int kSteps>
  static inline Sums one_run(const DepthwiseCall& call, std::ptrdiff_t at) {
    __m512i low = _mm512_setzero_si512(), high = low;
    for (int step = 0; step < kSteps; ++step) add_pair(call, at, step, low, high);
    Sums sums = biased(call.bias);
    spill(sums, low, high);
    return sums;
  }
};

}  // namespace

void depthwise_avx512bw_acc16(const DepthwiseCall& call) { row<Sums16, 5, 13>(call); }

}  // namespace oaq
