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

inline int8x16_t shifted(const std::uint8_t* x) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x), vdupq_n_u8(kShiftedS8.shift)));
}

// What the three rules share: the loop over steps. `Arithmetic::Lanes` hold a run of one output.
template <typename Arithmetic, int kRows>
struct Sixteens {
  static constexpr int kTile = kSide, kOutputs = kSide, kStep = 16;
  typename Arithmetic::Lanes lanes[kRows][kSide];

  [[gnu::always_inline]] void clear() {
    unrolled<kRows * kTile>([&](auto i) { lanes[i / kTile][i % kTile] = Arithmetic::none(); });
  }

  [[gnu::always_inline]] void add(const std::uint8_t* x, std::ptrdiff_t stride, const std::int8_t* w,
                                  std::int32_t steps) {
    for (; steps > 0; --steps, x += kStep, w += kTile * kStep) {
      int8x16_t weights[kSide];
      unrolled<kTile>([&](auto n) { weights[n] = vld1q_s8(w + kStep * n); });
      unrolled<kRows>([&](auto row) {
        const int8x16_t operands = shifted(x + row * stride);
        unrolled<kTile>([&](auto n) { Arithmetic::add(lanes[row][n], operands, weights[n]); });
      });
    }
  }

  [[gnu::always_inline]] void finish(int32x4_t (&sums)[kRows][1]) const {
    unrolled<kRows>([&](auto row) {
      const int32x4_t a = vpaddq_s32(Arithmetic::wide(lanes[row][0]), Arithmetic::wide(lanes[row][1]));
      const int32x4_t b = vpaddq_s32(Arithmetic::wide(lanes[row][2]), Arithmetic::wide(lanes[row][3]));
      sums[row][0] = vaddq_s32(sums[row][0], vpaddq_s32(a, b));
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
