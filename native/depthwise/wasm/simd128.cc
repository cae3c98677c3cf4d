// Depthwise rows on WebAssembly's SIMD128: u8 by s8, sixteen channels, a tap a step, any window.
//
//   acc16   low, high   8 x s16   i16x8.mul, i16x8.add   **wrap**    contract: a run's final lane proved in s16
//           spilled by extend_low, extend_high            **exact**
//   exact   four        4 x s32   i16x8.mul, then extended and added   **exact**   a product of u8 and s8 fits s16
#include "depthwise/wasm/lines.h"

namespace oaq {
namespace {

struct Sixteen {
  v128_t low, high;
};

inline Sixteen product(const std::uint8_t* x, const Sixteen& w) {
  return {wasm_i16x8_mul(wasm_u16x8_load8x8(x), w.low), wasm_i16x8_mul(wasm_u16x8_load8x8(x + 8), w.high)};
}

inline Sixteen widened(const std::int8_t* w) { return {wasm_i16x8_load8x8(w), wasm_i16x8_load8x8(w + 8)}; }

struct Acc16 {
  static constexpr int kTogether = 4, kTaps = 1, kWeightBytes = kTile;
  Sixteen lanes;
  static Sixteen load(const std::int8_t* w) { return widened(w); }
  void clear() { lanes = {wasm_i32x4_splat(0), wasm_i32x4_splat(0)}; }
  void add(Sums&, const std::uint8_t* const* taps, std::ptrdiff_t x, const Sixteen& weights) {
    const Sixteen products = product(*taps + x, weights);
    lanes = {wasm_i16x8_add(lanes.low, products.low), wasm_i16x8_add(lanes.high, products.high)};
  }
  void finish(Sums& sums) const { widen(sums, lanes.low, lanes.high); }
};

struct Exact {
  static constexpr int kTogether = 2, kTaps = 1, kWeightBytes = kTile;
  static Sixteen load(const std::int8_t* w) { return widened(w); }
  void clear() {}
  void add(Sums& sums, const std::uint8_t* const* taps, std::ptrdiff_t x, const Sixteen& weights) {
    const Sixteen products = product(*taps + x, weights);
    widen(sums, products.low, products.high);
  }
  void finish(Sums&) const {}
};

}  // namespace

void copy_pixels_wasm(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride, to += kTile) wasm_v128_store(to, wasm_v128_load(from));
}

void depthwise_simd128_acc16(const DepthwiseCall* call) { sum_line<Acc16>(*call); }
void depthwise_simd128_exact(const DepthwiseCall* call) { sum_line<Exact>(*call); }

}  // namespace oaq
