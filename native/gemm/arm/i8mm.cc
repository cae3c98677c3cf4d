// The matrix row of Arm's matrix products: u8 by s8, eight positions by eight outputs, eight k a step.
//
//   16 registers of 4 x s32: two positions by two outputs   usmmla   **exact**: proved in s32
#include <arm_neon.h>

#include "gemm/arm/tile.h"

namespace oaq {
namespace {

constexpr int kOutputsOfTile = 8, kTwos = kOutputsOfTile / 2;

template <int kRows>
struct Eights {
  static constexpr int kTile = kOutputsOfTile, kOutputs = kTile, kStep = 8, kPairs = (kRows + 1) / 2;
  Grid<int32x4_t, kPairs, kTwos> lanes;

  [[gnu::always_inline]] void clear() {
    unrolled<kPairs * kTwos>([&](auto i) { lanes.at[i / kTwos][i % kTwos] = vdupq_n_s32(0); });
  }

  // A row without a partner is its own.
  [[gnu::always_inline]] void add(const std::uint8_t* x, std::ptrdiff_t stride, const std::int8_t* w,
                                  std::int32_t steps) {
    for (; steps > 0; --steps, x += kStep, w += kTile * kStep) {
      int8x16_t weights[kTwos];
      unrolled<kTwos>([&](auto two) { weights[two] = vld1q_s8(w + 16 * two); });
      unrolled<kPairs>([&](auto pair) {
        constexpr int a = 2 * pair, b = a + 1 < kRows ? a + 1 : a;
        const uint8x16_t operands = vcombine_u8(vld1_u8(x + a * stride), vld1_u8(x + b * stride));
        unrolled<kTwos>(
            [&](auto two) { lanes.at[pair][two] = vusmmlaq_s32(lanes.at[pair][two], operands, weights[two]); });
      });
    }
  }

  [[gnu::always_inline]] void finish(Grid<int32x4_t, kRows, kTile / 4>& sums) const {
    unrolled<kRows * kTile / 4>([&](auto i) {
      constexpr int row = i / 2, four = i % 2;
      const int32x4_t a = lanes.at[row / 2][2 * four], b = lanes.at[row / 2][2 * four + 1];
      const int32x4_t both =
          row % 2 ? vcombine_s32(vget_high_s32(a), vget_high_s32(b)) : vcombine_s32(vget_low_s32(a), vget_low_s32(b));
      sums.at[row][four] = vaddq_s32(sums.at[row][four], both);
    });
  }
};

template <int kRows>
constexpr GemmSums kTileOf = sum_tile<Eights<kRows>, kRows>;

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(i8mm, 8, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(i8mm, 8, 1)[] = {oaq::kTileOf<1>, oaq::kTileOf<2>, oaq::kTileOf<3>,
                                                        oaq::kTileOf<4>, oaq::kTileOf<5>, oaq::kTileOf<6>,
                                                        oaq::kTileOf<7>, oaq::kTileOf<8>};
