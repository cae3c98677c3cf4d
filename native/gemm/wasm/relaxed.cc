// Matrix rows on WebAssembly's relaxed SIMD: operands of 7 bits by s8, five positions by eight outputs, four k a step.
// A register holds four outputs.
//
//   acc16   8 x s16   i16x8.relaxed_dot_i8x16_i7x16    a[2t]*b[2t] + a[2t+1]*b[2t+1]   contract: operands in [0, 127]
//                     i16x8.add                        **wrap**    contract: a run's final lane proved in s16
//           spilled by extadd_pairwise                 **exact**
//   exact   4 x s32   i32x4.relaxed_dot_..._add        **exact**   proved in s32
//
// What CPUs do differently is what they make of the top bit of the second operand, and of a pair that leaves s16. With
// operands in [0, 127] the bit is 0 and a pair is at most 2 * 127 * 128 < 2^15 in magnitude: every CPU computes the
// same. A weight of 0 beside a byte that is no operand (behind the last k) makes 0, whatever the byte is taken for.
#include "gemm/wasm/tile.h"

namespace oaq {
namespace {

struct Acc16 {
  static v128_t add(v128_t lanes, v128_t w, v128_t x) {
    return wasm_i16x8_add(wasm_i16x8_relaxed_dot_i8x16_i7x16(w, x), lanes);
  }
  static v128_t wide(v128_t lanes) { return wasm_i32x4_extadd_pairwise_i16x8(lanes); }
};

struct Exact {
  static v128_t add(v128_t lanes, v128_t w, v128_t x) { return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w, x, lanes); }
  static v128_t wide(v128_t lanes) { return lanes; }
};

template <typename Arithmetic, int kRows, int kFours>
struct Quads {
  Grid<v128_t, kRows, kFours> lanes;

  [[gnu::always_inline]] void clear() {
    unrolled<kRows * kFours>([&](auto i) { lanes.at[i / kFours][i % kFours] = wasm_i32x4_splat(0); });
  }

  template <int kAt>
  [[gnu::always_inline]] void add_step(const std::uint8_t* const (&at)[static_cast<std::size_t>(kRows)],
                                       const std::int8_t* w) {
    v128_t weights[static_cast<std::size_t>(kFours)];
    unrolled<kFours>([&](auto four) { weights[four] = wasm_v128_load(w + kAt * kTile * kStep + 16 * four); });
    unrolled<kRows>([&](auto row) {
      const v128_t operands = wasm_v128_load32_splat(at[row] + kAt * kStep);
      unrolled<kFours>(
          [&](auto four) { lanes.at[row][four] = Arithmetic::add(lanes.at[row][four], weights[four], operands); });
    });
  }

  [[gnu::always_inline]] void add(const std::uint8_t* x, std::ptrdiff_t stride, const std::int8_t* w,
                                  std::int32_t steps) {
    const std::uint8_t* at[static_cast<std::size_t>(kRows)];
    unrolled<kRows>([&](auto row) { at[row] = x + row * stride; });
    for (; steps > 1; steps -= 2, w += 2 * kTile * kStep) {
      add_step<0>(at, w);
      add_step<1>(at, w);
      unrolled<kRows>([&](auto row) { at[row] += 2 * kStep; });
    }
    if (steps) add_step<0>(at, w);
  }

  [[gnu::always_inline]] v128_t wide(int row, int four) const { return Arithmetic::wide(lanes.at[row][four]); }
};

template <int kRows, int kFours>
using QuadsInWords = Quads<Acc16, kRows, kFours>;
template <int kRows, int kFours>
using QuadsExact = Quads<Exact, kRows, kFours>;

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(relaxed_acc16, 5, 2);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(relaxed_acc16, 5, 2)[] = {
    oaq::sum_tile<oaq::QuadsInWords, 1, 1>, oaq::sum_tile<oaq::QuadsInWords, 2, 1>,
    oaq::sum_tile<oaq::QuadsInWords, 3, 1>, oaq::sum_tile<oaq::QuadsInWords, 4, 1>,
    oaq::sum_tile<oaq::QuadsInWords, 5, 1>, oaq::sum_tile<oaq::QuadsInWords, 1, 2>,
    oaq::sum_tile<oaq::QuadsInWords, 2, 2>, oaq::sum_tile<oaq::QuadsInWords, 3, 2>,
    oaq::sum_tile<oaq::QuadsInWords, 4, 2>, oaq::sum_tile<oaq::QuadsInWords, 5, 2>};
OAQ_DECLARE_GEMM(relaxed_exact, 5, 2);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(relaxed_exact, 5, 2)[] = {
    oaq::sum_tile<oaq::QuadsExact, 1, 1>, oaq::sum_tile<oaq::QuadsExact, 2, 1>, oaq::sum_tile<oaq::QuadsExact, 3, 1>,
    oaq::sum_tile<oaq::QuadsExact, 4, 1>, oaq::sum_tile<oaq::QuadsExact, 5, 1>, oaq::sum_tile<oaq::QuadsExact, 1, 2>,
    oaq::sum_tile<oaq::QuadsExact, 2, 2>, oaq::sum_tile<oaq::QuadsExact, 3, 2>, oaq::sum_tile<oaq::QuadsExact, 4, 2>,
    oaq::sum_tile<oaq::QuadsExact, 5, 2>};
