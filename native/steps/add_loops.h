// Add on vectors V (base/x86/ymm.h and its like). Included by files built for one instruction set each; everything is
// in an unnamed namespace, so that each has its own.
//
//   terms   float32   (a - a_zero) * a_scale    each product rounded once, half to even; the differences are exact: of
//                                              floats 2^23 + a and 2^23 + a_zero, which are a byte below the bits of
//                                              2^23
//   sums    s32       rounded half to even       exact: scales are so small that no sum leaves s32
//   fixed   s32       (a - a_zero) * a_factor + (b - b_zero) * b_factor + half, shifted   **exact**: proved in s32
//   bytes   u8        packed through s16         **saturates** twice, which changes nothing that the clamp keeps
#pragma once

#include "steps/add.h"

namespace oaq {
namespace {

// Packs, moves by the zero point and clamps a vector of bytes at a time; `sums(a, b)` are those of parts of unpacked
// bytes, above which lie words of `above`.
template <typename V, typename Sums>
inline std::size_t store_sums(const std::uint8_t* a, const std::uint8_t* b, std::size_t count,
                              const AddNumbers& numbers, std::uint8_t* y, std::int16_t above, Sums sums) {
  constexpr auto kBytes = static_cast<std::size_t>(V::kBytes);
  const auto zero = V::all16(static_cast<std::int16_t>(numbers.zero)), upper = V::all16(above);
  const auto lo = V::all8(numbers.clamp_lo), hi = V::all8(numbers.clamp_hi);
  std::size_t at = 0;
  for (; at + kBytes <= count; at += kBytes) {
    const auto left = V::unpack(V::load(a + at), upper), right = V::unpack(V::load(b + at), upper);
    typename V::Fours fours;
    for (int i = 0; i < 4; ++i) fours.part[i] = sums(left.part[i], right.part[i]);
    V::store(y + at, V::min8(V::max8(V::pack(fours, zero), lo), hi));
  }
  return at;
}

// Adds whole vectors; returns how many values it did.
template <typename V>
std::size_t vector_add(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                       std::uint8_t* y) {
  if (numbers.shift) {
    const auto a_zero = V::all32(numbers.a_zero), b_zero = V::all32(numbers.b_zero);
    const auto a_factor = V::all32(numbers.a_factor), b_factor = V::all32(numbers.b_factor);
    const auto half = V::all32(numbers.half);
    const int shift = numbers.shift;
    return store_sums<V>(a, b, count, numbers, y, 0, [&](auto left, auto right) {
      const auto sum = V::add(V::mul(V::sub(left, a_zero), a_factor), V::mul(V::sub(right, b_zero), b_factor));
      return V::right(V::add(sum, half), shift);
    });
  }
  constexpr std::int16_t kUpperBits = 0x4b00;  // of the float 2^23
  constexpr float kFloat = 8388608.0f;
  const auto a_zero = V::all(kFloat + static_cast<float>(numbers.a_zero));
  const auto b_zero = V::all(kFloat + static_cast<float>(numbers.b_zero));
  const auto a_scale = V::all(numbers.a_scale), b_scale = V::all(numbers.b_scale);
  const auto lo = V::all(static_cast<float>(numbers.clamp_lo - numbers.zero));
  const auto hi = V::all(static_cast<float>(numbers.clamp_hi - numbers.zero));
  return store_sums<V>(a, b, count, numbers, y, kUpperBits, [&](auto left, auto right) {
    const auto a_term = V::mul(V::sub(V::as_floats(left), a_zero), a_scale);
    const auto b_term = V::mul(V::sub(V::as_floats(right), b_zero), b_scale);
    return V::template nearest<true>(V::add(a_term, b_term), lo, hi);
  });
}

}  // namespace
}  // namespace oaq
