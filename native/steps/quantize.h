// From the caller's real values to the integers of an input, and from the integers of an output to real values.
#pragma once

#include <cstdint>

#include "base/isa.h"
#include "requantize/requantize.h"

namespace oaq {

// Of one input: q = clamp(half_even(real / scale) + zero_point), in float32.
struct InputScale {
  float scale;
  int zero_point;
  Clamp clamp;
};

// Bytes of a square block of 16 rows, which lie `from_step` bytes apart and come to lie `to_step` bytes apart.
struct Sixteens {
  const std::uint8_t* from;
  std::int64_t from_step;
  std::uint8_t* to;
  std::int64_t to_step;
};

// What the functions below do, once for any CPU and once per instruction set that has it wider.
struct EdgeLoops {
  Isa isa;
  // y[i] = (q[i] - zero) * scale
  void (*to_reals)(const std::uint8_t* q, std::int64_t count, std::int32_t zero, float scale, float* y);
  // Byte j of row i becomes byte i of row j.
  void (*transpose)(const Sixteens& block);
  // Bytes of three channels to pixels of three bytes.
  void (*interleave_three)(const std::uint8_t* const* channels, std::int64_t count, std::uint8_t* q);
  // Pixels of three bytes to bytes of three channels.
  void (*separate_three)(const std::uint8_t* q, std::int64_t count, std::uint8_t* const* channels);
};

extern const EdgeLoops kScalarEdges;
#ifdef OAQ_X86
extern const EdgeLoops kAvx2Edges;
extern const EdgeLoops kAvx512bwEdges;
#endif
#ifdef OAQ_ARM64
extern const EdgeLoops kNeonEdges;
#endif
#ifdef OAQ_WASM
extern const EdgeLoops kSimd128Edges;
#endif

// The widest that an instruction set includes.
const EdgeLoops& edge_loops(Isa isa);

// The widest of this CPU.
Isa widest_isa();

// From (channels, pixels) to (pixels, channels). Returns false, having written something, if a value is NaN.
bool quantize(const float* real, std::int64_t channels, std::int64_t pixels, const InputScale& numbers, std::uint8_t* q,
              Isa isa = widest_isa());

// From (pixels, channels) to (channels, pixels): (q - zero_point) * scale in float32.
void dequantize(const std::uint8_t* q, std::int64_t channels, std::int64_t pixels, float scale, int zero_point,
                float* real, Isa isa = widest_isa());

}  // namespace oaq
