// From the caller's real values to the integers of an input.
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

// From (channels, pixels) to (pixels, channels). Returns false, having written something, if a value is NaN.
bool quantize(const float* real, int channels, std::int64_t pixels, const InputScale& how, std::uint8_t* q);

}  // namespace oaq
