// Depthwise row on AVX-512BW, 64 channels at a time, any window (x86/lines.h). Registers, per tile:
//
//   low, high   32 x s16   pairs of taps, summed over the pairs of a run
//                          vpmaddubsw  **saturates**  contract: |pair| proved < 2^15
//                          vpaddw      **wraps**      contract: a run's final lane proved in s16
//   a, b, c, d  16 x s32   lanes spilled and added to the bias: vpmaddwd, vpsrad, vpaddd  **exact**
#include <immintrin.h>

#include "depthwise/depthwise.h"
#include "depthwise/x86/lines.h"
#include "depthwise/x86/rows_avx512.h"

namespace oaq {
namespace {

// Pairs of taps in s16 lanes.
struct Pairs {
  using Sums = oaq::Sums;
  struct State {
    __m512i low, high;
  };
  static constexpr int kTaps = 2, kStepBytes = 128;

  static State none() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }

  static State products(const Taps<Pairs>& x, const std::int8_t* weights) {
    const __m512i even = load(x[0]), odd = load(x[1]);
    return {_mm512_maddubs_epi16(_mm512_unpacklo_epi8(even, odd), load(weights)),
            _mm512_maddubs_epi16(_mm512_unpackhi_epi8(even, odd), load(weights + 64))};
  }

  static void add(State& state, const Taps<Pairs>& x, const std::int8_t* weights) {
    const State more = products(x, weights);
    state = {_mm512_add_epi16(state.low, more.low), _mm512_add_epi16(state.high, more.high)};
  }

  // As in avx2.cc.
  static void spill(Sums& sums, const State& state) {
    const __m512i even = _mm512_set1_epi32(1);
    sums.a = _mm512_add_epi32(sums.a, _mm512_madd_epi16(state.low, even));
    sums.b = _mm512_add_epi32(sums.b, _mm512_srai_epi32(state.low, 16));
    sums.c = _mm512_add_epi32(sums.c, _mm512_madd_epi16(state.high, even));
    sums.d = _mm512_add_epi32(sums.d, _mm512_srai_epi32(state.high, 16));
  }

  static __m512i in_order(__m512i bytes) {
    const __m128i order = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    return _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order));
  }

  static Sums in_order(const Sums& sums) {
    return {_mm512_unpacklo_epi32(sums.a, sums.b), _mm512_unpackhi_epi32(sums.a, sums.b),
            _mm512_unpacklo_epi32(sums.c, sums.d), _mm512_unpackhi_epi32(sums.c, sums.d)};
  }
};

}  // namespace

void copy_pixels_avx512(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride, to += Sums::kTile) _mm512_storeu_si512(to, load(from));
}

void depthwise_avx512bw_acc16(const DepthwiseCall* call) { any_window<Pairs>(*call); }

}  // namespace oaq
