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

inline Sums sums16(const DepthwiseCall& call, const std::uint8_t* const* columns) {
  Sums sums = biased(call.bias);
  const auto* w = static_cast<const std::int8_t*>(call.weights);
  const std::int32_t* tap = call.taps;
  for (int run = 0; run < call.run_count; ++run) {
    __m512i low = _mm512_setzero_si512(), high = low;
    for (int step = call.runs[run]; step > 0; --step, tap += 2, w += 2 * kTile) {
      const __m512i x = load(columns[tap[0]] + call.channel), z = load(columns[tap[1]] + call.channel);
      low = _mm512_add_epi16(low, _mm512_maddubs_epi16(_mm512_unpacklo_epi8(x, z), load(w)));
      high = _mm512_add_epi16(high, _mm512_maddubs_epi16(_mm512_unpackhi_epi8(x, z), load(w + kTile)));
    }
    spill(sums, low, high);
  }
  return sums;
}

}  // namespace

void depthwise_avx512bw_acc16(const DepthwiseCall& call) { row<sums16>(call); }

}  // namespace oaq
