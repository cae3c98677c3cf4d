// How vectors V of s32 sums are rounded: to s32 that saturate where the clamp cuts them off anyway. Included by files
// built for one instruction set each; everything is in an unnamed namespace, so that each has its own.
//
//   floats   V x float32   sum * scale, one rounding each; cut off above before they become s32, unless all fit; below,
//                          a value that leaves s32 becomes the least s32
//   fixed    s64           products of s32 and roundings   **exact**: below 2^62 + 2^61
//            s32           what is beyond 2^30 becomes 2^30, unless everything fits
//   bytes    u8            packed through s16, where the zero point is added: **saturates** twice, which changes
//   nothing
//                          that the clamp keeps
#pragma once

#include <cstddef>
#include <cstdint>

#include "requantize/loops.h"

namespace oaq {
namespace {

// kEach: every sum has its own numbers, at its place in memory; else all have the first. kFits: no product leaves s32.
template <typename V, bool kEach, bool kFits>
struct FloatRounder {
  const float* scales;
  typename V::Floats scale, hi;

  explicit FloatRounder(const RequantNumbers& numbers)
      : scales(numbers.scale),
        scale(V::all(*numbers.scale)),
        hi(V::all(static_cast<float>(numbers.hi - numbers.zero))) {}

  typename V::Integers operator()(typename V::Integers sums, std::size_t at) const {
    const auto by = kEach ? V::load_floats(scales + at) : scale;
    const auto products = V::mul(V::to_floats(sums), by);
    return V::to_integers(kFits ? products : V::min(products, hi));
  }
};

template <typename V, bool kEach, bool kThen>
struct FixedRounder {
  using Integers = typename V::Integers;
  static constexpr std::int64_t kFar = std::int64_t{1} << 30;
  RequantNumbers numbers;
  Integers multiplier, shift, then;

  explicit FixedRounder(const RequantNumbers& all)
      : numbers(all),
        multiplier(V::all32(*all.multiplier)),
        shift(V::all32(*all.shift)),
        then(V::all32(kThen ? *all.then : 0)) {}

  // Of the s32 at even places.
  Integers rounded(Integers sums, Integers by, Integers bits, Integers again) const {
    const Integers half = V::right64_unsigned_by_one(V::one_times_power(bits));
    Integers result = V::right64(V::add64(V::mul_even(sums, by), half), bits);
    if constexpr (kThen)
      result = V::halved_away64(result, again, V::right64_unsigned_by_one(V::one_times_power(again)));
    return numbers.fits ? result : V::clamp64(result, kFar);
  }

  Integers operator()(Integers sums, std::size_t at) const {
    const Integers by = kEach ? V::load(numbers.multiplier + at) : multiplier;
    const Integers bits = kEach ? V::load(numbers.shift + at) : shift;
    const Integers again = kThen ? (kEach ? V::load(numbers.then + at) : then) : V::zero();
    const Integers even = rounded(sums, by, V::low_halves(bits), V::low_halves(again));
    const Integers odd = rounded(V::odd_as_even(sums), V::odd_as_even(by), V::odd_as_even(bits), V::odd_as_even(again));
    return V::joined(even, odd);
  }
};

// Calls `use` with the rounder of these numbers, for sums of any size.
template <typename V, bool kEach, typename Use>
void with_rounder(const RequantNumbers& numbers, Use use) {
  if (numbers.scale)
    use(FloatRounder<V, kEach, false>(numbers));
  else if (numbers.then)
    use(FixedRounder<V, kEach, true>(numbers));
  else
    use(FixedRounder<V, kEach, false>(numbers));
}

// Likewise for sums of at most `most` in magnitude, all by the first numbers.
template <typename V, typename Use>
void with_rounder_below(const RequantNumbers& numbers, float most, Use use) {
  if (numbers.scale && *numbers.scale * most < 0x1p30f)
    use(FloatRounder<V, false, true>(numbers));
  else
    with_rounder<V, false>(numbers, use);
}

// Rounded s32 in the order of V::unpack as bytes.
template <typename V>
struct Leaver {
  typename V::Integers zero, lo, hi;

  explicit Leaver(const RequantNumbers& numbers)
      : zero(V::all16(static_cast<std::int16_t>(numbers.zero))),
        lo(V::all8(static_cast<std::uint8_t>(numbers.lo))),
        hi(V::all8(static_cast<std::uint8_t>(numbers.hi))) {}

  typename V::Integers operator()(const typename V::Fours& rounded) const {
    return V::min8(V::max8(V::pack(rounded, zero), lo), hi);
  }
};

}  // namespace
}  // namespace oaq
