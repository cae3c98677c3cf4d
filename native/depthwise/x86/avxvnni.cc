// Depthwise row on AVX-VNNI, 32 channels at a time, any window (x86/lines.h). Registers, per tile:
//
//   a, b, c, d  8 x s32   four taps at a time: vpdpbusd  **exact**  contract: totals proved in s32
#include <immintrin.h>

#include "depthwise/depthwise.h"
#include "depthwise/x86/lines.h"
#include "depthwise/x86/rows_avx2.h"

namespace oaq {
namespace {

// Four taps in s32 lanes.
struct Quads {
  using Sums = oaq::Sums;
  using State = Sums;
  static constexpr int kTaps = 4, kStepBytes = 128;

  static void add(Sums& sums, const Taps<Quads>& x, const std::int8_t* weights) {
    const __m256i x0 = load(x[0]), x1 = load(x[1]), x2 = load(x[2]), x3 = load(x[3]);
    const __m256i low01 = _mm256_unpacklo_epi8(x0, x1), high01 = _mm256_unpackhi_epi8(x0, x1);
    const __m256i low23 = _mm256_unpacklo_epi8(x2, x3), high23 = _mm256_unpackhi_epi8(x2, x3);
    sums.a = _mm256_dpbusd_avx_epi32(sums.a, _mm256_unpacklo_epi16(low01, low23), load(weights));
    sums.b = _mm256_dpbusd_avx_epi32(sums.b, _mm256_unpackhi_epi16(low01, low23), load(weights + 32));
    sums.c = _mm256_dpbusd_avx_epi32(sums.c, _mm256_unpacklo_epi16(high01, high23), load(weights + 64));
    sums.d = _mm256_dpbusd_avx_epi32(sums.d, _mm256_unpackhi_epi16(high01, high23), load(weights + 96));
  }

  static __m256i in_order(__m256i bytes) { return bytes; }
  static const Sums& in_order(const Sums& sums) { return sums; }
};

}  // namespace

void depthwise_avxvnni(const DepthwiseCall* call) { any_window<Quads>(*call); }

}  // namespace oaq
