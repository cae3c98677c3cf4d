// Rounding of a block of floats as plain loops over arrays of known size, which every compiler makes vector code of.
// Included by files built for one instruction set each; everything is in an unnamed namespace, so that each has its
// own.
#pragma once

#include <cstdint>

#include "steps/quantize.h"

namespace oaq {
namespace {

constexpr float kHalfEven = 12582912.0f;  // 1.5 * 2^23: adding it rounds anything in [-2^22, 2^22] to an integer

// Returns how many are NaN.
inline int quantized_block(const float* real, const InputScale& numbers, std::uint8_t* q) {
  const InputScale local = numbers;  // a copy, so that stores to q are known not to change it
  const float lo = static_cast<float>(local.clamp.lo - local.zero_point);
  const float hi = static_cast<float>(local.clamp.hi - local.zero_point);
  int missing = 0;
  for (int i = 0; i < kQuantizeBlock; ++i) missing += real[i] != real[i];
  for (int i = 0; i < kQuantizeBlock; ++i) {
    const float steps = real[i] / local.scale;
    const float above = steps > lo ? steps : lo;  // NaN becomes lo
    const float clamped = above < hi ? above : hi;
    q[i] = static_cast<std::uint8_t>(static_cast<int>(clamped + kHalfEven - kHalfEven) + local.zero_point);
  }
  return missing;
}

}  // namespace
}  // namespace oaq
