// How every matrix row of WebAssembly goes through a tile: lines of positions, groups of rows, pieces, runs. Included
// by files built for one instruction set each; everything is in an unnamed namespace, so that each has its own. A file
// says what its arithmetic is:
//
//   Rule<rows, fours>   sums rows x 4 * fours of the kTile outputs of a tile, four k a step
//                       clear(): an empty run; add(x, stride, w, steps): so many steps on operands that lie one after
//                       another; wide(row, four): the run's sums of four outputs, s32
#pragma once

#include "gemm/wasm/leave.h"

namespace oaq {
namespace {

constexpr int kTile = 8, kStep = 4;

// What a run adds to: the bias at first, then the sums so far, in memory.
struct Before {
  const std::int32_t* at;
  int stride;  // from row to row
};

template <typename Rule, int kRows, int kFours>
[[gnu::always_inline]] inline Grid<v128_t, kRows, kFours> added(const Before& before, const Rule& run) {
  Grid<v128_t, kRows, kFours> sums;
  unrolled<kRows * kFours>([&](auto i) {
    constexpr int row = i / kFours, four = i % kFours;
    sums.at[row][four] =
        wasm_i32x4_add(wasm_v128_load(before.at + row * before.stride + 4 * four), run.wide(row, four));
  });
  return sums;
}

// The sums of one group of rows. A run may span several pieces; each but the last is added to memory when it ends.
template <typename Rule, int kRows, int kFours>
[[gnu::always_inline]] inline Grid<v128_t, kRows, kFours> sum_rows(const GemmCall& call, const std::uint8_t* x) {
  const std::int8_t* w = call.packed;
  const Piece* const last = call.pieces + call.piece_count - 1;
  Before before{call.bias, 0};
  Rule run;
  run.clear();
  for (const Piece* piece = call.pieces;; ++piece) {
    w += piece->skipped;
    run.add(x + piece->first, static_cast<std::ptrdiff_t>(call.stride), w, piece->steps);
    if (piece == last) return added<Rule, kRows, kFours>(before, run);
    w += std::ptrdiff_t{piece->steps} * kTile * kStep;
    if (piece->after == After::kGoOn) continue;
    const auto sums = added<Rule, kRows, kFours>(before, run);
    unrolled<kRows * kFours>([&](auto i) {
      wasm_v128_store(call.sums + i / kFours * kTile + i % kFours * 4, sums.at[i / kFours][i % kFours]);
    });
    before = {call.sums, kTile};
    run.clear();
  }
}

template <template <int, int> typename Rule, int kRows, int kFours>
void sum_tile(GemmCall* at) {
  const GemmCall call = *at;  // a copy, so that stores to y are known not to change it
  const std::uint8_t* x = call.x;
  std::uint8_t* y = call.y;
  std::int64_t groups = call.groups;
  for (std::int64_t line = call.lines; line > 0; --line, groups = call.line_groups) {
    for (std::int64_t group = groups; group > 0; --group) {
      leave<kTile>(call, sum_rows<Rule<kRows, kFours>, kRows, kFours>(call, x), y);
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
