// The matrix row of Arm's dot products: s8 (u8 - 128) by s8, four positions by sixteen outputs, four k a step.
//
//   16 registers of 4 x s32, an output in each lane   sdot   **exact**: proved in s32
//
// Four steps at a time take one load of operands, whose four quads are multiplied in turn.
#include <arm_neon.h>

#include "gemm/arm/tile.h"

namespace oaq {
namespace {

// Of a tile whose last outputs are missing, the first eight alone.
template <int kPart, int kRows>
struct Quads {
  static constexpr int kTile = 16, kOutputs = 8 * kPart, kFours = kOutputs / 4, kStep = 4, kStepBytes = kTile * kStep;
  Grid<int32x4_t, kRows, kFours> lanes;

  [[gnu::always_inline]] void clear() {
    unrolled<kRows * kFours>([&](auto i) { lanes.at[i / kFours][i % kFours] = vdupq_n_s32(0); });
  }

  [[gnu::always_inline]] void add(const std::uint8_t* x, std::ptrdiff_t stride, const std::int8_t* w,
                                  std::int32_t steps) {
    const uint8x16_t shift = vdupq_n_u8(kShiftedS8.shift);
    for (; steps >= 4; steps -= 4, x += 4 * kStep, w += 4 * kStepBytes) {
      int8x16_t operands[static_cast<std::size_t>(kRows)];
      unrolled<kRows>(
          [&](auto row) { operands[row] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x + row * stride), shift)); });
      unrolled<4>([&](auto step) {
        unrolled<kFours>([&](auto four) {
          const int8x16_t weights = vld1q_s8(w + step * kStepBytes + 16 * four);
          unrolled<kRows>([&](auto row) {
            lanes.at[row][four] = vdotq_laneq_s32(lanes.at[row][four], weights, operands[row], decltype(step)::value);
          });
        });
      });
    }
    for (; steps > 0; --steps, x += kStep, w += kStepBytes)
      unrolled<kRows>([&](auto row) {
        std::uint32_t quad;
        __builtin_memcpy(&quad, x + row * stride, sizeof quad);
        const int8x16_t operands = vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(quad)), shift));
        unrolled<kFours>([&](auto four) {
          lanes.at[row][four] = vdotq_s32(lanes.at[row][four], vld1q_s8(w + 16 * four), operands);
        });
      });
  }

  [[gnu::always_inline]] void finish(Grid<int32x4_t, kRows, kFours>& sums) const {
    unrolled<kRows * kFours>([&](auto i) {
      sums.at[i / kFours][i % kFours] = vaddq_s32(sums.at[i / kFours][i % kFours], lanes.at[i / kFours][i % kFours]);
    });
  }
};

template <int kPart, int kRows>
constexpr GemmSums kTileOf = sum_tile<Quads<kPart, kRows>, kRows>;

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(dotprod, 4, 2);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(dotprod, 4, 2)[] = {oaq::kTileOf<1, 1>, oaq::kTileOf<1, 2>, oaq::kTileOf<1, 3>,
                                                           oaq::kTileOf<1, 4>, oaq::kTileOf<2, 1>, oaq::kTileOf<2, 2>,
                                                           oaq::kTileOf<2, 3>, oaq::kTileOf<2, 4>};
