// What float parts of a file compute between dynamic layers, once for any CPU and once per instruction set that has it
// wider: normalization, GELU, attention. Nothing here is proved. Results are those of exact arithmetic but for rounding
// (docs/math/float-parts.md), and differ between instruction sets by as much. NaN and infinities go in and come out;
// every loop says what they become.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/isa.h"

namespace oaq {

// y = (s - mean(s)) / sqrt(variance(s) + epsilon) * gain + bias, of every row, with s = x + other. A row that holds NaN
// or an infinity becomes NaN throughout.
struct NormalizeCall {
  const float* x;      // (rows, width)
  const float* other;  // likewise; null: nothing is added
  const float* gain;   // (width)
  const float* bias;   // (width); null: none
  float epsilon;
  std::int64_t rows;
  std::int64_t width;
  float* sum;     // (rows, width), gets s; null: nobody asks
  float* y;       // (rows, width)
  float* scaled;  // (rows, width), gets the same by a gain and a bias of its own; null: nobody asks
  const float* scaled_gain;
  const float* scaled_bias;  // null: none
};

// y = x * P(standard normal < x), of column n times factor[n]. NaN stays, infinity stays, minus infinity becomes NaN as
// 0 * infinity does.
struct GeluCall {
  const float* x;  // (rows, width)
  std::int64_t rows;
  std::int64_t width;
  const float* factor;  // (width); null: 1
  float* y;             // (rows, width)
};

// One head: y = softmax(scale * q k' + shift) v, row by row of q. A row whose scores hold NaN, infinity, or nothing but
// minus infinity becomes NaN. Strides are in floats.
struct AttendCall {
  const float* q;  // (rows, depth)
  const float* k;  // (keys, depth)
  const float* v;  // (keys, width)
  std::ptrdiff_t q_stride, k_stride, v_stride;
  std::int64_t rows, keys, depth, width;
  float scale;
  const float* shift;  // (rows, keys) by its strides, which may be 0; null: none
  std::ptrdiff_t shift_row;
  bool shift_varies;    // along keys, one after another; otherwise one number serves all
  const float* factor;  // (width) by which columns of v are multiplied; null: 1
  float* y;             // (rows, width)
  std::ptrdiff_t y_stride;
  float* scratch;  // of FloatLoops::scratch
};

struct FloatLoops {
  Isa isa;
  void (*normalize)(const NormalizeCall& call);
  void (*gelu)(const GeluCall& call);
  void (*attend)(const AttendCall& call);
  std::int64_t (*scratch)(const AttendCall& call);  // floats
};

extern const FloatLoops kScalarFloats;
#ifdef OAQ_X86
extern const FloatLoops kAvx2Floats;
extern const FloatLoops kAvx512bwFloats;
#endif
#ifdef OAQ_ARM64
extern const FloatLoops kNeonFloats;
#endif

// The widest that an instruction set includes.
const FloatLoops& float_loops(Isa isa);

}  // namespace oaq
