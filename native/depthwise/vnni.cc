#include <immintrin.h>

#include "depthwise/depthwise.h"
#include "depthwise/rows_avx512.h"

namespace oaq {
namespace {

using namespace avx512;

inline Sums dots(const DepthwiseCall& call, const std::uint8_t* const* columns) {
  Sums sums = biased(call.bias);
  const auto* w = static_cast<const std::int8_t*>(call.weights);
  const std::int32_t* tap = call.taps;
  for (int run = 0; run < call.run_count; ++run) {
    for (int step = call.runs[run]; step > 0; --step, tap += 4, w += 4 * kTile) {
      const __m512i x0 = load(columns[tap[0]] + call.channel), x1 = load(columns[tap[1]] + call.channel);
      const __m512i x2 = load(columns[tap[2]] + call.channel), x3 = load(columns[tap[3]] + call.channel);
      const __m512i low01 = _mm512_unpacklo_epi8(x0, x1), high01 = _mm512_unpackhi_epi8(x0, x1);
      const __m512i low23 = _mm512_unpacklo_epi8(x2, x3), high23 = _mm512_unpackhi_epi8(x2, x3);
      sums.a = _mm512_dpbusd_epi32(sums.a, _mm512_unpacklo_epi16(low01, low23), load(w));
      sums.b = _mm512_dpbusd_epi32(sums.b, _mm512_unpackhi_epi16(low01, low23), load(w + kTile));
      sums.c = _mm512_dpbusd_epi32(sums.c, _mm512_unpacklo_epi16(high01, high23), load(w + 2 * kTile));
      sums.d = _mm512_dpbusd_epi32(sums.d, _mm512_unpackhi_epi16(high01, high23), load(w + 3 * kTile));
    }
  }
  return sums;
}

}  // namespace

void depthwise_vnni(const DepthwiseCall& call) { row<dots>(call); }

}  // namespace oaq
