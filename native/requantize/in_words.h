// Requantization in 16 bits.
//
// vpmulhrsw of two s16 is (t * m + 2^14) >> 15: t times m * 2^-15, rounded half up. Where a multiplier is such a
// number, that is what float32_half_even computes, as long as the zero point and the lowest value are 0:
//
//   * results below 2^8 are exact in float32 before they are rounded, for then t * m < 2^23; others are clamped;
//   * results halfway between two integers are few (t * m has to be an odd multiple of 2^14), and where all of them
//     up to the clamp lie below an even integer, half up and half even are the same;
//   * negative results leave 0 either way.
//
// A sum that does not fit s16 is saturated: below to a result of 0, as it should be, above to the result of 2^15 - 1,
// which has to be the highest value, or else the sum may never go there.
#pragma once

#include <cstdint>

namespace oaq {

inline constexpr int kWordShift = 15;
inline constexpr std::int32_t kMostWord = (1 << kWordShift) - 1;

// m where `scale` is m * 2^-15 and halfway results in [0, hi] all have an even integer above them; else 0.
inline std::int16_t word_multiplier(float scale, int hi) {
  const float scaled = scale * static_cast<float>(1 << kWordShift);
  if (!(scaled >= 1.0f && scaled <= static_cast<float>(kMostWord))) return 0;
  const auto multiplier = static_cast<std::int16_t>(scaled);
  if (static_cast<float>(multiplier) != scaled) return 0;
  int odd = multiplier, halfway = 1 << (kWordShift - 1);  // the least sum with a halfway result, which is odd / 2
  for (; odd % 2 == 0; odd /= 2) halfway /= 2;
  for (int times = 1; times * halfway <= kMostWord && times * odd < 2 * hi; times += 2)
    if (times * odd % 4 != 3) return 0;
  return multiplier;
}

// Whether results of sums in (-inf, most] are right, though sums are saturated.
inline bool word_holds(std::int16_t multiplier, int hi, std::int64_t most) {
  return most <= kMostWord || (kMostWord * std::int32_t{multiplier} + (1 << (kWordShift - 1))) >> kWordShift >= hi;
}

}  // namespace oaq
