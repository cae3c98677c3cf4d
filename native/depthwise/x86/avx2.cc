// Depthwise rows on AVX2, 32 channels at a time, any window (x86/lines.h). Registers, per tile:
//
//   acc16   low, high   16 x s16   a[2t] * b[2t] + a[2t+1] * b[2t+1], summed over the pairs of a run
//                                  vpmaddubsw  **saturates**  contract: |pair| proved < 2^15
//                                  vpaddw      **wraps**      contract: a run's final lane proved in s16
//   sums    a, b, c, d  8 x s32    lanes spilled and added to the bias: vpmaddwd, vpsrad, vpaddd  **exact**
//   exact   a, b, c, d  8 x s32    pairs of operands widened to s16: vpmaddwd, vpaddd             **exact**
#include <immintrin.h>

#include "depthwise/depthwise.h"
#include "depthwise/x86/lines.h"
#include "depthwise/x86/rows_avx2.h"

namespace oaq {
namespace {

// Pairs of taps in s16 lanes.
struct Pairs {
  using Sums = oaq::Sums;
  struct State {
    __m256i low, high;
  };
  static constexpr int kTaps = 2, kStepBytes = 64;

  static State none() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

  static State products(const Taps<Pairs>& x, const std::int8_t* weights) {
    const __m256i even = load(x[0]), odd = load(x[1]);
    return {_mm256_maddubs_epi16(_mm256_unpacklo_epi8(even, odd), load(weights)),
            _mm256_maddubs_epi16(_mm256_unpackhi_epi8(even, odd), load(weights + 32))};
  }

  static void add(State& state, const Taps<Pairs>& x, const std::int8_t* weights) {
    const State more = products(x, weights);
    state = {_mm256_add_epi16(state.low, more.low), _mm256_add_epi16(state.high, more.high)};
  }

  // Even lanes times one and their neighbours times zero; odd lanes shifted.
  static void spill(Sums& sums, const State& state) {
    const __m256i even = _mm256_set1_epi32(1);
    sums.a = _mm256_add_epi32(sums.a, _mm256_madd_epi16(state.low, even));
    sums.b = _mm256_add_epi32(sums.b, _mm256_srai_epi32(state.low, 16));
    sums.c = _mm256_add_epi32(sums.c, _mm256_madd_epi16(state.high, even));
    sums.d = _mm256_add_epi32(sums.d, _mm256_srai_epi32(state.high, 16));
  }

  static __m256i in_order(__m256i bytes) {
    const __m128i order = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
  }

  static Sums in_order(const Sums& sums) {
    return {_mm256_unpacklo_epi32(sums.a, sums.b), _mm256_unpackhi_epi32(sums.a, sums.b),
            _mm256_unpacklo_epi32(sums.c, sums.d), _mm256_unpackhi_epi32(sums.c, sums.d)};
  }
};

// Pairs of taps, widened, in s32 lanes.
struct WidePairs {
  using Sums = oaq::Sums;
  using State = Sums;
  static constexpr int kTaps = 2, kStepBytes = 128;

  static void add(Sums& sums, const Taps<WidePairs>& x, const std::int8_t* weights) {
    const __m256i even = load(x[0]), odd = load(x[1]), zero = _mm256_setzero_si256();
    const __m256i low = _mm256_unpacklo_epi8(even, odd), high = _mm256_unpackhi_epi8(even, odd);
    sums.a = _mm256_add_epi32(sums.a, _mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), load(weights)));
    sums.b = _mm256_add_epi32(sums.b, _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), load(weights + 32)));
    sums.c = _mm256_add_epi32(sums.c, _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), load(weights + 64)));
    sums.d = _mm256_add_epi32(sums.d, _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), load(weights + 96)));
  }

  static __m256i in_order(__m256i bytes) { return bytes; }
  static const Sums& in_order(const Sums& sums) { return sums; }
};

}  // namespace

void copy_pixels_avx2(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride, to += Sums::kTile)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), load(from));
}

void depthwise_avx2_acc16(const DepthwiseCall* call) { any_window<Pairs>(*call); }
void depthwise_avx2_exact(const DepthwiseCall* call) { any_window<WidePairs>(*call); }

}  // namespace oaq
