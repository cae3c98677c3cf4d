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

// kFits: no product leaves s32.
template <typename V, bool kFits>
struct FloatRounder {
  typename V::Floats scale, hi;

  typename V::Integers operator()(typename V::Integers sums) const {
    const auto products = V::mul(V::to_floats(sums), scale);
    return V::to_integers(kFits ? products : V::min(products, hi));
  }
};

// What products of the s32 at even places are rounded by.
template <typename V>
struct Halves {
  typename V::Integers multiplier, bits, half, sign, then, then_half;

  Halves(typename V::Integers by, typename V::Integers shift, typename V::Integers again)
      : multiplier(by),
        bits(V::low_halves(shift)),
        half(V::right64_unsigned_by_one(V::one_times_power(bits))),
        sign(V::shifted_sign(bits)),
        then(V::low_halves(again)),
        then_half(V::right64_unsigned_by_one(V::one_times_power(then))) {}
};

template <typename V, bool kThen>
struct FixedRounder {
  using Integers = typename V::Integers;
  static constexpr std::int64_t kFar = std::int64_t{1} << 30;
  Halves<V> even, odd;
  bool fits;

  FixedRounder(Integers by, Integers shift, Integers again, bool all_fit)
      : even(by, shift, again), odd(V::odd_as_even(by), V::odd_as_even(shift), V::odd_as_even(again)), fits(all_fit) {}

  Integers rounded(Integers sums, const Halves<V>& by) const {
    Integers result = V::right64(V::add64(V::mul_even(sums, by.multiplier), by.half), by.bits, by.sign);
    if constexpr (kThen) result = V::halved_away64(result, by.then, by.then_half);
    return fits ? result : V::clamp64(result, kFar);
  }

  Integers operator()(Integers sums) const {
    return V::joined(rounded(sums, even), rounded(V::odd_as_even(sums), odd));
  }
};

// Calls `use` with the rounder of a vector of sums, each by the numbers at its own place from `at` on, or all by the
// first; of sums of any size, or of at most `most` in magnitude.
template <typename V, typename Use>
void with_rounder_at(const RequantNumbers& numbers, std::size_t at, Use use) {
  const auto hi = V::all(static_cast<float>(numbers.hi - numbers.zero));
  if (numbers.scale)
    use(FloatRounder<V, false>{V::load_floats(numbers.scale + at), hi});
  else if (numbers.then)
    use(FixedRounder<V, true>(V::load(numbers.multiplier + at), V::load(numbers.shift + at), V::load(numbers.then + at),
                              numbers.fits));
  else
    use(FixedRounder<V, false>(V::load(numbers.multiplier + at), V::load(numbers.shift + at), V::zero(), numbers.fits));
}

template <typename V, typename Use>
void with_rounder(const RequantNumbers& numbers, float most, Use use) {
  const auto hi = V::all(static_cast<float>(numbers.hi - numbers.zero));
  if (numbers.scale && *numbers.scale * most < 0x1p30f)
    use(FloatRounder<V, true>{V::all(*numbers.scale), hi});
  else if (numbers.scale)
    use(FloatRounder<V, false>{V::all(*numbers.scale), hi});
  else if (numbers.then)
    use(FixedRounder<V, true>(V::all32(*numbers.multiplier), V::all32(*numbers.shift), V::all32(*numbers.then),
                              numbers.fits));
  else
    use(FixedRounder<V, false>(V::all32(*numbers.multiplier), V::all32(*numbers.shift), V::zero(), numbers.fits));
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
