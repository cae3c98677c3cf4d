#include <immintrin.h>

#include "depthwise/depthwise.h"
#include "depthwise/rows_avx512.h"

namespace oaq {
namespace {

using namespace avx512;

// One step: four taps into the four registers of s32 sums.
inline void add_quad(const DepthwiseCall& call, std::ptrdiff_t at, int step, Sums& sums) {
  const std::uint8_t* const* x = call.x + 4 * step;
  const __m512i x0 = load(x[0] + at), x1 = load(x[1] + at), x2 = load(x[2] + at), x3 = load(x[3] + at);
  const __m512i low01 = _mm512_unpacklo_epi8(x0, x1), high01 = _mm512_unpackhi_epi8(x0, x1);
  const __m512i low23 = _mm512_unpacklo_epi8(x2, x3), high23 = _mm512_unpackhi_epi8(x2, x3);
  const auto* w = static_cast<const std::int8_t*>(call.weights) + 4 * kTile * step;
  sums.a = _mm512_dpbusd_epi32(sums.a, _mm512_unpacklo_epi16(low01, low23), load(w));
  sums.b = _mm512_dpbusd_epi32(sums.b, _mm512_unpackhi_epi16(low01, low23), load(w + kTile));
  sums.c = _mm512_dpbusd_epi32(sums.c, _mm512_unpacklo_epi16(high01, high23), load(w + 2 * kTile));
  sums.d = _mm512_dpbusd_epi32(sums.d, _mm512_unpackhi_epi16(high01, high23), load(w + 3 * kTile));
}

struct Dots {
  static inline Sums any(const DepthwiseCall& call, std::ptrdiff_t at) {
    Sums sums = biased(call.bias);
    for (int run = 0, step = 0; run < call.run_count; ++run)
      for (const int end = step + call.runs[run]; step < end; ++step) add_quad(call, at, step, sums);
    return sums;
  }

  template <int kSteps>
  static inline Sums one_run(const DepthwiseCall& call, std::ptrdiff_t at) {
    Sums sums = biased(call.bias);
    for (int step = 0; step < kSteps; ++step) add_quad(call, at, step, sums);
    return sums;
  }
};

}  // namespace

void depthwise_vnni(const DepthwiseCall& call) { row<Dots, 3, 7>(call); }

}  // namespace oaq
