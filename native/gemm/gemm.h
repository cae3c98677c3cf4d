// Matrix rows: sums of one tile of outputs at a few positions.
//
// A position's operands lie in pieces, in packed K order, at the same places from where each position begins; positions
// lie `stride` bytes apart. Packed weights are (steps, tile_n, 4) bytes in execution order. What each row's register
// does is declared in base/table.h: the pair sum of vpmaddubsw **saturates** at s16, vpaddw **wraps**, vpmaddwd, vpaddd
// and vpdpbusd are **exact** on operands in the rows' ranges.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/table.h"
#include "requantize/ways.h"

namespace oaq {

// What becomes of a run's sums after a piece. Generated loops know the numbers; kernels.cc checks them.
enum class After : std::int32_t {
  kAdd = 0,    // they are added to what is in memory
  kGoOn = 1,   // the run goes on in the next piece
  kBegin = 2,  // of the first run: they are added to the bias
};

// Steps on operands that lie one after another.
struct Piece {
  std::int32_t first;  // bytes from where a position begins
  std::int32_t steps;  // > 0
  After after;
  std::int32_t skipped = 0;  // bytes of weights left out before those of the first step
};

// Generated loops know where members begin: kernels.cc includes the generator's own word for each, as checks.
struct GemmCall {
  const std::uint8_t* x;  // moved on by every group of rows
  std::int64_t stride;
  const std::int8_t* packed;
  const Piece* pieces;
  std::int64_t piece_count;  // > 0
  std::int32_t* sums;        // (rows, tile_n): what is summed so far
  const std::int32_t* bias;  // (tile_n)
  std::uint8_t* y;           // where u8 results go, moved on likewise; null: s32 sums stay in `sums`
  std::int64_t y_stride;
  const float* scale;   // (tile_n), each below 1
  std::int64_t groups;  // of rows in a line of positions; 1, in one line, if y is null
  std::int32_t hi;      // the clamp
  std::int32_t zero;
  std::int32_t lo;
  Way way;
  std::int64_t next;    // bytes from `packed` to weights that are wanted soon, fetched by the first group of rows;
                        // any number is safe, 0 is none
  const float* addend;  // (tile_n), for floats
  const std::int16_t* words;  // (2, tile_n), for words: multipliers in the order in which two registers are packed, and
                              // zero points
  std::int64_t line_groups;   // `groups` again, for the lines after the first
  std::int64_t lines;         // of positions; 0 on return
  std::int64_t x_jump;        // added to x and y between a line's last group and the next line's first
  std::int64_t y_jump;
};
using GemmSums = void (*)(GemmCall*);

// The functions of one table row. `sums[part - 1][rows - 1]` computes the first `part / parts` of a tile's outputs.
struct GemmKernel {
  int most_rows;
  const GemmSums* sums;

  GemmSums shape(int part, int rows) const { return sums[(part - 1) * most_rows + rows - 1]; }
};

// The array of a row's functions. Its symbol carries its size, so that C++ and a generator that disagree do not link.
#define OAQ_GEMM_FUNCTIONS(functions, m, parts) oaq_gemm_##functions##_shapes_##m##x##parts
#define OAQ_DECLARE_GEMM(functions, m, parts) \
  extern "C" [[gnu::visibility("hidden")]] const oaq::GemmSums OAQ_GEMM_FUNCTIONS(functions, m, parts)[(m) * (parts)]

// Throws std::invalid_argument for a row without one.
const GemmKernel& gemm_kernel(const Row& row);

}  // namespace oaq
