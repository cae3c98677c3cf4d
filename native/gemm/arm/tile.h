// How every matrix row of Arm goes through a tile: lines of positions, groups of rows, pieces, runs. Included by files
// built for one instruction set each; everything is in an unnamed namespace, so that each has its own. A file says what
// its arithmetic is:
//
//   Rule<rows>   kOutputs: how many it sums of the kTile outputs of a tile, a multiple of four; kStep: k of a step
//                clear(): an empty run; add(x, stride, w, steps): so many steps on operands that lie one after another
//                finish(sums): adds the run to (rows, outputs) s32 sums, four outputs in each register
#pragma once

#include "gemm/arm/leave.h"

namespace oaq {
namespace {

// The sums of one group of rows. A run may span several pieces; each run is added to the sums when it ends.
template <typename Rule, int kRows>
[[gnu::always_inline]] inline void sum_rows(const GemmCall& call, const std::uint8_t* x,
                                            Grid<int32x4_t, kRows, Rule::kOutputs / 4>& sums) {
  constexpr int kFours = Rule::kOutputs / 4;
  unrolled<kRows * kFours>([&](auto i) { sums.at[i / kFours][i % kFours] = vld1q_s32(call.bias + 4 * (i % kFours)); });
  const std::int8_t* w = call.packed;
  const Piece* const end = call.pieces + call.piece_count;
  Rule run;
  run.clear();
  for (const Piece* piece = call.pieces; piece != end; ++piece) {
    w += piece->skipped;
    run.add(x + piece->first, call.stride, w, piece->steps);
    w += std::ptrdiff_t{piece->steps} * Rule::kTile * Rule::kStep;
    if (piece->after == After::kGoOn) continue;
    run.finish(sums);
    run.clear();
  }
}

template <typename Rule, int kRows>
void sum_tile(GemmCall* at) {
  const GemmCall call = *at;  // a copy, so that stores to y are known not to change it
  const std::uint8_t* x = call.x;
  std::uint8_t* y = call.y;
  std::int64_t groups = call.groups;
  for (std::int64_t line = call.lines; line > 0; --line, groups = call.line_groups) {
    for (std::int64_t group = groups; group > 0; --group) {
      Grid<int32x4_t, kRows, Rule::kOutputs / 4> sums;
      sum_rows<Rule, kRows>(call, x, sums);
      leave<Rule::kTile>(call, sums, y);
      if (group > 1) {
        x += kRows * call.stride;
        if (y) y += kRows * call.y_stride;
      }
    }
    x += call.x_jump;
    if (y) y += call.y_jump;
  }
}

}  // namespace
}  // namespace oaq
