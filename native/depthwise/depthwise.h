// Depthwise rows: one output per channel, taps summed in steps of two or four.
//
// Operands of a tile of channels are gathered, padding included, into lines of `tile_n` bytes a pixel, so that every
// window is regular. Weights, bias and multipliers are laid out when the step is built, in the order in which the row
// says that channels lie in its registers (base/order.h). What overflows how is declared by the row's register in
// rows.inc: vpmaddubsw **saturates**, vpaddw **wraps**, vpmaddwd and vpdpbusd are **exact**.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/table.h"
#include "requantize/ways.h"

namespace oaq {

// A line of outputs of one tile of channels. Generated loops know where members begin: kernels.cc includes the
// generator's own word for each, as checks.
struct DepthwiseCall {
  // For the first output: of a square window the first pixel on each of its lines, which the others follow; of any
  // window the pixel under each tap of each step, in execution order.
  const std::uint8_t* const* x;
  std::int64_t x_step;  // bytes from one output's pixels to the next's
  std::int64_t outputs;
  const void* weights;       // in execution order, laid out for the kernel
  std::int64_t ends;         // of a square window: a bit for every step that ends a segment
  const std::int32_t* bias;  // laid out
  const float* scale;        // laid out, each below 1, then what floats need added; unused where sums are asked for
  std::uint8_t* y;           // whole tiles are written, whatever channels there are
  std::int64_t y_stride;
  std::int32_t* sums;  // (outputs, tile_n) in the order of channels instead of y, or null
  std::int32_t zero;
  std::int32_t lo;  // the clamp
  std::int32_t hi;
  std::int32_t run_count;    // > 0
  const std::int32_t* runs;  // steps of each segment
  Way way;
  const std::int16_t* words;  // for words, laid out: multipliers, then biases
};
using DepthwiseSums = void (*)(const DepthwiseCall*);

// Pixels of a tile, `stride` bytes apart where they come from, one after another where they go.
using CopyPixels = void (*)(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to);

struct DepthwiseKernel {
  int weight_bytes;  // 1, or 2 where weights are widened beforehand
  CopyPixels copy;
  DepthwiseSums any;    // whatever the window and the order of its steps
  DepthwiseSums three;  // 3x3 and 5x5 windows, not dilated, whose steps are executed once each, in order; or null
  DepthwiseSums five;

  DepthwiseSums square(int side) const { return side == 3 ? three : side == 5 ? five : nullptr; }
};

// Throws std::invalid_argument for a row without one.
const DepthwiseKernel& depthwise_kernel(const Row& row);

}  // namespace oaq
