// Depthwise rows: one output per channel, taps summed in steps of two or four.
//
// Vector code interleaves the operands of a step's taps within 128-bit lanes. Channel 16 h + 4 j + i of a tile so comes
// to lie in lane 4 h + i of the j-th register of s32 sums; weights, bias and multipliers are laid out to match when the
// step is built, and the packing to bytes undoes it. What overflows how is declared in base/table.h: vpmaddubsw
// **saturates**, vpaddw **wraps**, vpmaddwd and vpdpbusd are **exact**.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/table.h"
#include "requantize/float_requant.h"

namespace oaq {

// Neighbouring outputs of one tile of channels.
struct DepthwiseCall {
  const std::uint8_t* const* x;  // per step in execution order: the pixel under each of its taps, for the first output
  std::ptrdiff_t x_step;         // bytes from one output's pixels to the next's
  int outputs;
  int channels;              // that exist, at most tile_n
  const void* weights;       // in execution order, laid out for the kernel
  const std::int32_t* runs;  // steps of each segment
  int run_count;             // > 0
  const std::int32_t* bias;  // laid out
  const float* scale;        // laid out; unused where sums are asked for
  FloatRequant how;
  std::uint8_t* y;  // at the tile's first channel
  std::ptrdiff_t y_stride;
  std::int32_t* sums;  // (outputs, tile_n) in the order of channels instead of y, or null
};
using DepthwiseSums = void (*)(const DepthwiseCall&);

struct DepthwiseKernel {
  int lanes;         // s32 lanes of a register; 0: channels in their own order
  int weight_bytes;  // 1, or 2 where weights are widened beforehand
  DepthwiseSums sums;
};

// Throws std::invalid_argument for a row without one.
const DepthwiseKernel& depthwise_kernel(const Row& row);

void depthwise_avx2_acc16(const DepthwiseCall& call);
void depthwise_avx2_exact(const DepthwiseCall& call);
void depthwise_avx512bw_acc16(const DepthwiseCall& call);
void depthwise_vnni(const DepthwiseCall& call);

}  // namespace oaq
