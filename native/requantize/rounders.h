// How vectors V of s32 sums are rounded: to s32 that saturate where the clamp cuts them off anyway. Included by files
// built for one instruction set each; everything is in an unnamed namespace, so that each has its own.
//
//   floats   V x float32   sum * scale, one rounding each; what leaves s32 is cut off, unless all fit (V::nearest)
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
  typename V::Floats scale, lo, hi;

  FloatRounder(typename V::Floats by, const RequantNumbers& numbers)
      : scale(by),
        lo(V::all(static_cast<float>(numbers.lo - numbers.zero))),
        hi(V::all(static_cast<float>(numbers.hi - numbers.zero))) {}

  typename V::Integers operator()(typename V::Integers sums) const {
    return V::template nearest<kFits>(V::mul(V::to_floats(sums), scale), lo, hi);
  }
};

// What products of the s32 at even places are rounded by.
template <typename V>
struct Halves {
  typename V::Integers multiplier;
  typename V::HalfUp up;
  typename V::HalfAway away;

  Halves(typename V::Integers by, typename V::Integers shift, typename V::Integers again)
      : multiplier(by), up(V::even_as64(shift)), away(V::even_as64(again)) {}
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
    Integers result = by.up(V::mul_even(sums, by.multiplier));
    if constexpr (kThen) result = by.away(result);
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
  if (numbers.scale)
    use(FloatRounder<V, false>(V::load_floats(numbers.scale + at), numbers));
  else if (numbers.then)
    use(FixedRounder<V, true>(V::load(numbers.multiplier + at), V::load(numbers.shift + at), V::load(numbers.then + at),
                              numbers.fits));
  else
    use(FixedRounder<V, false>(V::load(numbers.multiplier + at), V::load(numbers.shift + at), V::zero(), numbers.fits));
}

template <typename V, typename Use>
void with_rounder(const RequantNumbers& numbers, float most, Use use) {
  if (numbers.scale && *numbers.scale * most < 0x1p30f)
    use(FloatRounder<V, true>(V::all(*numbers.scale), numbers));
  else if (numbers.scale)
    use(FloatRounder<V, false>(V::all(*numbers.scale), numbers));
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
