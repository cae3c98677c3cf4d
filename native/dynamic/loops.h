// What a dynamic layer does beside sums of products, once for any CPU and once per instruction set that has it wider:
// the extremes of reals, their quantization, and sums that leave as reals. Every one computes the same bits.
#pragma once

#include <cstdint>

#include "base/isa.h"

namespace oaq {

// Of reals, 0 included; NaN is passed over.
struct Extremes {
  float least;
  float most;
};

// q = clamp(half_even(real / scale) + zero), in float32, clamped to [lo, hi] inside [0, 255].
struct RealScale {
  float scale;
  std::int32_t zero;
  std::int32_t lo;
  std::int32_t hi;
};

// Sums of a tile that leave as reals: of row m and output n, all in float32, operation by operation,
//
//   t = sum - row_zero[m] * column_sum[n] - row_excess[m] * weight_zero[n]     modulo 2^32; proved to fit
//   y = float(t) * (row_scale[m] * scale[n]) + bias[n]
struct LeaveCall {
  const std::int32_t* sums;  // (rows, tile_n)
  std::int64_t tile_n;
  std::int64_t rows;
  std::int64_t columns;  // of a tile that exist; what is read of an output lies there for all tile_n
  const float* row_scale;
  const std::int32_t* row_zero;    // null: none, or in the sums already
  const std::int32_t* row_excess;  // null with weight_zero
  const std::int32_t* column_sum;
  const std::int32_t* weight_zero;  // null: all 0
  const float* scale;
  const float* bias;  // null: none is added
  float* y;
  std::int64_t y_stride;  // in floats
};

struct DynamicLoops {
  Isa isa;
  Extremes (*extremes)(const float* x, std::int64_t count);
  bool (*quantize)(const float* x, std::int64_t count, const RealScale& numbers, std::uint8_t* q);  // false: a NaN
  void (*leave)(const LeaveCall& call);
};

extern const DynamicLoops kScalarLoops;
#ifdef OAQ_X86
extern const DynamicLoops kAvx2Loops;
extern const DynamicLoops kAvx512bwLoops;
#endif
#ifdef OAQ_ARM64
extern const DynamicLoops kNeonLoops;
#endif

// The widest that a row's instruction set includes.
const DynamicLoops& dynamic_loops(Isa isa);

}  // namespace oaq
