// From the caller's real values to the integers of an input, and from the integers of an output to real values.
#pragma once

#include <cstdint>

#include "requantize/requantize.h"

namespace oaq {

// Of one input: q = clamp(half_even(real / scale) + zero_point), in float32.
struct InputScale {
  float scale;
  int zero_point;
  Clamp clamp;
};

constexpr int kQuantizeBlock = 256;

// For a CPU with AVX2. A block of values: returns how many are NaN. Three channels of a block of pixels to pixels.
int quantize_block_avx2(const float* real, const InputScale& numbers, std::uint8_t* q);
void interleave_three_avx2(const std::uint8_t (*blocks)[kQuantizeBlock], std::uint8_t* q);

// From (channels, pixels) to (pixels, channels). Returns false, having written something, if a value is NaN.
bool quantize(const float* real, int channels, std::int64_t pixels, const InputScale& numbers, std::uint8_t* q);

// From (pixels, channels) to (channels, pixels): (q - zero_point) * scale in float32.
void dequantize(const std::uint8_t* q, std::int64_t channels, std::int64_t pixels, float scale, int zero_point,
                float* real);

}  // namespace oaq
