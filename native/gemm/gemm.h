// Matrix rows: sums of one tile of outputs at a few positions.
//
// A position's operands lie one after another in memory, in packed K order; positions lie `stride` bytes apart. Packed
// weights are (steps, tile_n, 4) bytes in execution order. What each row's register does is declared in base/table.h:
// the pair sum of vpmaddubsw **saturates** at s16, vpaddw **wraps**, vpmaddwd, vpaddd and vpdpbusd are **exact** on
// operands in the rows' ranges.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/table.h"
#include "requantize/float_requant.h"

namespace oaq {

// Offsets of the members are known to generate.py.
struct GemmCall {
  const std::uint8_t* x;
  std::int64_t stride;
  const std::int8_t* packed;
  const std::int32_t* segments;  // (first byte of k, steps) each
  std::int64_t segment_count;    // > 0
  std::int32_t* sums;            // (positions, tile_n), written
  const std::int32_t* bias;      // (tile_n)
};
using GemmSums = void (*)(const GemmCall*);

// Writes clamp(half_even(float32(sums) * scale) + zero) for (rows, columns) sums that lie tile_n apart.
using GemmStore = void (*)(const std::int32_t* sums, int rows, int columns, const FloatRequant& how, std::uint8_t* y,
                           std::ptrdiff_t y_stride);

// The functions of one table row. `sums[part - 1][rows - 1]` computes the first `part / parts` of a tile's outputs.
struct GemmKernel {
  int most_rows;
  int parts;
  const GemmSums* sums;
  GemmStore store;

  GemmSums shape(int part, int rows) const { return sums[(part - 1) * most_rows + rows - 1]; }
};

// Throws std::invalid_argument for a row without one.
const GemmKernel& gemm_kernel(const Row& row);

}  // namespace oaq
