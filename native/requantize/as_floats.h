// Sums that are floats without a conversion.
//
// The bits of the float 2^23 + t are those of 2^23 plus t, for t in [0, 2^23): a bias that holds the bits of 2^23 makes
// a float of every sum. One fused multiplication and addition, of scale and -scale * 2^23 (exact: a power of two), then
// gives scale * t, rounded once: what float32(t) * scale is. For t < 0 the bits are those of a float below 2^23, as
// long as they are those of a positive one; the result is below 0, as it should be, though not the same. So this serves
// outputs whose zero point and lowest value are 0: there all of them are 0.
#pragma once

#include <cstdint>

namespace oaq {

inline constexpr std::int32_t kFloatBits = 0x4b000000;  // 2^23
inline constexpr float kFloatValue = 8388608.0f;

// The bias that makes floats of sums of a bias and something in [down, up]; 0 if none does. Sums that are never above 0
// leave a 0 whatever they are, so those may be moved up.
inline std::int32_t float_bias(std::int32_t bias, std::int64_t down, std::int64_t up) {
  constexpr std::int64_t kEnd = std::int64_t{1} << 23;
  const std::int64_t start = bias < -up - 1 ? -up - 1 : bias;
  return start + down > -kEnd && start + up < kEnd ? kFloatBits + static_cast<std::int32_t>(start) : 0;
}

}  // namespace oaq
