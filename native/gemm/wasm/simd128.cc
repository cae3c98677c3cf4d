// Matrix rows on WebAssembly's SIMD128: u8 by s8, both widened to 16 bits when they are loaded, two positions by eight
// outputs, four k a step. A register holds two outputs, each in four lanes of 16 bits or two of 32.
//
//   acc16   8 x s16   i16x8.mul, i16x8.add          **wrap**    contract: a run's final lane proved in s16
//           spilled by extadd_pairwise, then the halves of an output are added   **exact**
//   exact   4 x s32   i32x4.dot_i16x8, i32x4.add    **exact**   proved in s32
//
// On x86 both are the same number of instructions. On Arm, i16x8.mul and add are one (mla); i32x4.dot is three.
#include "gemm/wasm/tile.h"

namespace oaq {
namespace {

struct Acc16 {
  static v128_t add(v128_t lanes, v128_t x, v128_t w) { return wasm_i16x8_add(lanes, wasm_i16x8_mul(x, w)); }
  static v128_t pairs(v128_t lanes) { return wasm_i32x4_extadd_pairwise_i16x8(lanes); }
};

struct Exact {
  static v128_t add(v128_t lanes, v128_t x, v128_t w) { return wasm_i32x4_add(lanes, wasm_i32x4_dot_i16x8(x, w)); }
  static v128_t pairs(v128_t lanes) { return lanes; }
};

template <typename Arithmetic, int kRows, int kFours>
struct Quads {
  static constexpr int kTwos = 2 * kFours;
  Grid<v128_t, kRows, kTwos> lanes;

  [[gnu::always_inline]] void clear() {
    unrolled<kRows * kTwos>([&](auto i) { lanes.at[i / kTwos][i % kTwos] = wasm_i32x4_splat(0); });
  }

  [[gnu::always_inline]] void add_step(const v128_t (&x)[static_cast<std::size_t>(kRows)], const std::int8_t* w) {
    unrolled<kTwos>([&](auto two) {
      const v128_t weights = wasm_i16x8_load8x8(w + 8 * two);
      unrolled<kRows>([&](auto row) { lanes.at[row][two] = Arithmetic::add(lanes.at[row][two], x[row], weights); });
    });
  }

  [[gnu::always_inline]] void add(const std::uint8_t* x, std::ptrdiff_t stride, const std::int8_t* w,
                                  std::int32_t steps) {
    v128_t operands[static_cast<std::size_t>(kRows)];
    const std::uint8_t* at[static_cast<std::size_t>(kRows)];
    unrolled<kRows>([&](auto row) { at[row] = x + row * stride; });
    for (; steps > 1; steps -= 2, w += 2 * kTile * kStep) {  // two steps read operands once
      v128_t both[static_cast<std::size_t>(kRows)];
      unrolled<kRows>([&](auto row) {
        both[row] = wasm_u16x8_load8x8(at[row]);
        at[row] += 2 * kStep;
        operands[row] = wasm_i64x2_shuffle(both[row], both[row], 0, 0);
      });
      add_step(operands, w);
      unrolled<kRows>([&](auto row) { operands[row] = wasm_i64x2_shuffle(both[row], both[row], 1, 1); });
      add_step(operands, w + kTile * kStep);
    }
    if (steps == 0) return;
    unrolled<kRows>([&](auto row) { operands[row] = wasm_u16x8_extend_low_u8x16(wasm_v128_load32_splat(at[row])); });
    add_step(operands, w);
  }

  [[gnu::always_inline]] v128_t wide(int row, int four) const {
    const v128_t a = Arithmetic::pairs(lanes.at[row][2 * four]), b = Arithmetic::pairs(lanes.at[row][2 * four + 1]);
    return wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
  }
};

template <int kRows, int kFours>
using QuadsInWords = Quads<Acc16, kRows, kFours>;
template <int kRows, int kFours>
using QuadsExact = Quads<Exact, kRows, kFours>;

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(simd128_acc16, 2, 2);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(simd128_acc16, 2, 2)[] = {
    oaq::sum_tile<oaq::QuadsInWords, 1, 1>, oaq::sum_tile<oaq::QuadsInWords, 2, 1>,
    oaq::sum_tile<oaq::QuadsInWords, 1, 2>, oaq::sum_tile<oaq::QuadsInWords, 2, 2>};
OAQ_DECLARE_GEMM(simd128_exact, 2, 2);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(simd128_exact, 2, 2)[] = {
    oaq::sum_tile<oaq::QuadsExact, 1, 1>, oaq::sum_tile<oaq::QuadsExact, 2, 1>, oaq::sum_tile<oaq::QuadsExact, 1, 2>,
    oaq::sum_tile<oaq::QuadsExact, 2, 2>};
