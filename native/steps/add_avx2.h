#pragma once

#include <cstddef>
#include <cstdint>

namespace oaq {

// Plain data for vector code: y = max(half_even(min(a_scale * (a - a_zero) + b_scale * (b - b_zero), hi)) + zero, lo).
struct AddNumbers {
  float a_scale, b_scale;
  std::int32_t a_zero, b_zero;
  float hi;
  std::int32_t zero;
  std::uint8_t clamp_lo;
};

// Whole vectors of 16; returns how many values it did.
std::size_t add_avx2(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& how,
                     std::uint8_t* y);

}  // namespace oaq
