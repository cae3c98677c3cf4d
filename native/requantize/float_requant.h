// What vector code needs to know of a requantization.
#pragma once

#include <cstdint>

namespace oaq {

// What vector code reads of a requantization: float32_half_even, y = clamp(half_even(float32(acc) * scale) + zero).
// Plain data, so that no code built for one instruction set is shared with another.
struct FloatRequant {
  const float* scale;  // of the first channel asked for
  float hi;            // clamp.hi - zero: values are cut off before they become integers, so none is too large for one
  float lo;            // clamp.lo - zero
  std::int32_t zero;
  std::uint8_t clamp_lo;
  std::uint8_t clamp_hi;
};

}  // namespace oaq
