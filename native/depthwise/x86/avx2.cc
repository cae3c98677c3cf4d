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

namespace oaq {
namespace {

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

struct Sums {
  static constexpr int kTile = 32;
  __m256i a, b, c, d;

  static void store(__m256i bytes, std::uint8_t* y) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes); }

  static Sums biased(const std::int32_t* bias) {
    return {load(bias), load(bias + 8), load(bias + 16), load(bias + 24)};
  }
};

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

inline __m256i scaled(__m256i sums, const float* scale) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale)));
}

// Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps.
inline __m256i packed(const DepthwiseCall& call, const Sums& sums) {
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(call.zero));
  const __m256i low = _mm256_packs_epi32(scaled(sums.a, call.scale), scaled(sums.b, call.scale + 8));
  const __m256i high = _mm256_packs_epi32(scaled(sums.c, call.scale + 16), scaled(sums.d, call.scale + 24));
  __m256i bytes = _mm256_packus_epi16(_mm256_adds_epi16(low, zero), _mm256_adds_epi16(high, zero));
  bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(static_cast<char>(call.lo)));
  return _mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(call.hi)));
}

// The s32 sums in the order of channels.
inline void write(const Sums& sums, std::int32_t* to) {
  const __m256i all[4] = {sums.a, sums.b, sums.c, sums.d};
  for (int j = 0; j < 4; ++j) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 4 * j), _mm256_castsi256_si128(all[j]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 + 4 * j), _mm256_extracti128_si256(all[j], 1));
  }
}

}  // namespace

void copy_pixels_avx2(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride, to += Sums::kTile)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), load(from));
}

void depthwise_avx2_acc16(const DepthwiseCall* call) { any_window<Pairs>(*call); }
void depthwise_avx2_exact(const DepthwiseCall* call) { any_window<WidePairs>(*call); }

}  // namespace oaq
