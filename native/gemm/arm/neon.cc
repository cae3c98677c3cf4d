// Matrix rows on NEON, which every AArch64 has: s8 (u8 - 128) by s8, four positions by four outputs, sixteen k a step.
// Lane i of a register sums the products k = i and k = i + 8 of every sixteen.
//
//   acc16   16 registers of 8 x s16   smlal, smlal2   **wrap**     contract: a run's final lane proved in s16
//           spilled by saddlp, addp, addp, add         **exact**    eight lanes of s16 fit s32
//   acc32   16 registers of 4 x s32   smull, smlal2   **wrap**     contract: the sum of the two products proved in s16
//           sadalp in every step                       **exact**    proved in s32
//   exact   16 registers of 4 x s32   smull, sadalp, smull2, sadalp   **exact**   a product of two s8 fits s16
#include <arm_neon.h>

#include "gemm/arm/tile.h"

namespace oaq {
namespace {

constexpr int kSide = 4;

// What the three rules share: the loop over steps. `Arithmetic::Lanes` hold a run of one output.
template <typename Arithmetic, int kRows>
struct Sixteens {
  static constexpr int kTile = kSide, kOutputs = kSide, kStep = 16;
  Grid<typename Arithmetic::Lanes, kRows, kSide> lanes;
  uint8x16_t operands[static_cast<std::size_t>(kRows)];
  int8x16_t weights[static_cast<std::size_t>(kSide)];

  [[gnu::always_inline]] void clear() {
    unrolled<kRows * kSide>([&](auto i) { lanes.at[i / kSide][i % kSide] = Arithmetic::none(); });
  }

  // What a step reads is loaded while the step before is computed: cores that issue in order do not wait for it, and
  // nothing behind the last step is read.
  [[gnu::always_inline]] void add(const std::uint8_t* x, std::ptrdiff_t stride, const std::int8_t* w,
                                  std::int32_t steps) {
    unrolled<kRows>([&](auto row) { operands[row] = vld1q_u8(x + row * stride); });
    unrolled<kSide>([&](auto n) { weights[n] = vld1q_s8(w + kStep * n); });
    for (; steps > 1; --steps) {
      x += kStep;
      w += kSide * kStep;
      add_step([&](auto row) { operands[row] = vld1q_u8(x + row * stride); },
               [&](auto n) { weights[n] = vld1q_s8(w + kStep * n); });
    }
    add_step([](auto) {}, [](auto) {});
  }

  // One step; each operand and weight is loaded again once it has been used.
  template <typename LoadOperand, typename LoadWeight>
  [[gnu::always_inline]] void add_step(LoadOperand load_operand, LoadWeight load_weight) {
    int8x16_t x[static_cast<std::size_t>(kRows)];
    unrolled<kRows>([&](auto row) {
      x[row] = vreinterpretq_s8_u8(veorq_u8(operands[row], vdupq_n_u8(kShiftedS8.shift)));
      load_operand(row);
    });
    unrolled<kSide>([&](auto n) {
      unrolled<kRows>([&](auto row) { Arithmetic::add(lanes.at[row][n], x[row], weights[n]); });
      load_weight(n);
    });
  }

  [[gnu::always_inline]] void finish(Grid<int32x4_t, kRows, 1>& sums) const {
    unrolled<kRows>([&](auto row) {
      const auto wide = [&](int n) { return Arithmetic::wide(lanes.at[row][n]); };
      const int32x4_t all = vpaddq_s32(vpaddq_s32(wide(0), wide(1)), vpaddq_s32(wide(2), wide(3)));
      sums.at[row][0] = vaddq_s32(sums.at[row][0], all);
    });
  }
};

struct Acc16 {
  using Lanes = int16x8_t;
  static Lanes none() { return vdupq_n_s16(0); }
  static void add(Lanes& lanes, int8x16_t x, int8x16_t w) {
    lanes = vmlal_high_s8(vmlal_s8(lanes, vget_low_s8(x), vget_low_s8(w)), x, w);
  }
  static int32x4_t wide(Lanes lanes) { return vpaddlq_s16(lanes); }
};

struct Acc32 {
  using Lanes = int32x4_t;
  static Lanes none() { return vdupq_n_s32(0); }
  static void add(Lanes& lanes, int8x16_t x, int8x16_t w) {
    lanes = vpadalq_s16(lanes, vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(w)), x, w));
  }
  static int32x4_t wide(Lanes lanes) { return lanes; }
};

struct Exact {
  using Lanes = int32x4_t;
  static Lanes none() { return vdupq_n_s32(0); }
  static void add(Lanes& lanes, int8x16_t x, int8x16_t w) {
    lanes = vpadalq_s16(vpadalq_s16(lanes, vmull_s8(vget_low_s8(x), vget_low_s8(w))), vmull_high_s8(x, w));
  }
  static int32x4_t wide(Lanes lanes) { return lanes; }
};

template <typename Arithmetic, int kRows>
constexpr GemmSums kTileOf = sum_tile<Sixteens<Arithmetic, kRows>, kRows>;

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(neon_acc16, 4, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(neon_acc16, 4, 1)[] = {oaq::kTileOf<oaq::Acc16, 1>, oaq::kTileOf<oaq::Acc16, 2>,
                                                              oaq::kTileOf<oaq::Acc16, 3>, oaq::kTileOf<oaq::Acc16, 4>};
OAQ_DECLARE_GEMM(neon_acc32, 4, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(neon_acc32, 4, 1)[] = {oaq::kTileOf<oaq::Acc32, 1>, oaq::kTileOf<oaq::Acc32, 2>,
                                                              oaq::kTileOf<oaq::Acc32, 3>, oaq::kTileOf<oaq::Acc32, 4>};
OAQ_DECLARE_GEMM(neon_exact, 4, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(neon_exact, 4, 1)[] = {oaq::kTileOf<oaq::Exact, 1>, oaq::kTileOf<oaq::Exact, 2>,
                                                              oaq::kTileOf<oaq::Exact, 3>, oaq::kTileOf<oaq::Exact, 4>};
