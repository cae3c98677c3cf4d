// A depthwise row on WebAssembly's relaxed SIMD: operands of 7 bits by s8, sixteen channels, two taps a step.
//
//   acc16   low, high   8 x s16   i16x8.relaxed_dot_i8x16_i7x16 of two taps side by side   contract: operands in [0,
//   127]
//                                 i16x8.add   **wrap**    contract: a run's final lane proved in s16
//           spilled by extend_low, extend_high   **exact**
//
// Why every CPU computes the same: gemm/wasm/relaxed.cc.
#include "depthwise/wasm/lines.h"

namespace oaq {
namespace {

struct Pairs {
  static constexpr int kTogether = 4, kTaps = 2, kWeightBytes = 2 * kTile;
  struct Weights {
    v128_t low, high;
  };
  v128_t low, high;
  static Weights load(const std::int8_t* w) { return {wasm_v128_load(w), wasm_v128_load(w + kTile)}; }
  void clear() { low = high = wasm_i32x4_splat(0); }
  void add(Sums&, const std::uint8_t* const* taps, std::ptrdiff_t x, const Weights& weights) {
    const v128_t a = wasm_v128_load(taps[0] + x), b = wasm_v128_load(taps[1] + x);
    const v128_t first = wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const v128_t last = wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    low = wasm_i16x8_add(wasm_i16x8_relaxed_dot_i8x16_i7x16(weights.low, first), low);
    high = wasm_i16x8_add(wasm_i16x8_relaxed_dot_i8x16_i7x16(weights.high, last), high);
  }
  void finish(Sums& sums) const { widen(sums, low, high); }
};

}  // namespace

void depthwise_relaxed_acc16(const DepthwiseCall* call) { sum_line<Pairs>(*call); }

}  // namespace oaq
