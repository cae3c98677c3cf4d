// Requantization in 16 bits.
//
// vpmulhrsw of two s16 is (t * m + 2^14) >> 15: t times m * 2^-15, rounded half up. Where a multiplier is such a
// number, that is what float32_half_even computes before the zero point is added, as far as the clamp keeps it:
//
//   * results below 2^8 are exact in float32 before they are rounded, for then t * m < 2^23; others are clamped;
//   * results halfway between two integers are few (t * m has to be an odd multiple of 2^14), and where all of them
//     inside the clamp lie below an even integer, half up and half even are the same.
//
// A sum that does not fit s16 is saturated: the result of 2^15 - 1 has to be the highest value, that of -2^15 the
// lowest one, or else the sum may never go there. Here lowest and highest are those of the clamp less the zero point.
#pragma once

#include <cstdint>

namespace oaq {

inline constexpr int kWordShift = 15;
inline constexpr std::int32_t kMostWord = (1 << kWordShift) - 1;

// m where `scale` is m * 2^-15 and halfway results in [lo, hi] all have an even integer above them; else 0.
inline std::int16_t word_multiplier(float scale, int lo, int hi) {
  const float scaled = scale * static_cast<float>(1 << kWordShift);
  if (!(scaled >= 1.0f && scaled <= static_cast<float>(kMostWord))) return 0;
  const auto multiplier = static_cast<std::int16_t>(scaled);
  if (static_cast<float>(multiplier) != scaled) return 0;
  int odd = multiplier, halfway = 1 << (kWordShift - 1);  // the least sum with a halfway result, which is odd / 2
  for (; odd % 2 == 0; odd /= 2) halfway /= 2;
  for (int times = 1; times * halfway <= kMostWord; times += 2) {
    const int twice = times * odd;
    if (twice >= 2 * hi && twice >= -2 * lo) break;
    if (twice < 2 * hi && twice % 4 != 3) return 0;   // twice / 2, above a sum of 0
    if (twice < -2 * lo && twice % 4 != 1) return 0;  // -twice / 2, below it
  }
  return multiplier;
}

// Whether results of sums in [least, most] are right, though sums are saturated.
inline bool word_holds(std::int16_t multiplier, int lo, int hi, std::int64_t least, std::int64_t most) {
  const auto result = [multiplier](std::int32_t sum) {
    return (sum * std::int32_t{multiplier} + (1 << (kWordShift - 1))) >> kWordShift;
  };
  return (most <= kMostWord || result(kMostWord) >= hi) && (least >= -kMostWord - 1 || result(-kMostWord - 1) <= lo);
}

}  // namespace oaq
