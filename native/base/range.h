// The constexpr twin of the range arithmetic in numerics/accumulator.py: what a register can hold for certain.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/table.h"

namespace oaq {

constexpr std::int64_t largest(int bits) { return (std::int64_t{1} << (bits - 1)) - 1; }
constexpr std::int64_t smallest(int bits) { return -(std::int64_t{1} << (bits - 1)); }

// Largest and smallest product of an operand in x and a weight in w.
constexpr std::int64_t max_product(Range x, Range w) {
  const std::int64_t a = x.lo, b = x.hi, c = w.lo, d = w.hi;
  return std::max(std::max(a * c, a * d), std::max(b * c, b * d));
}
constexpr std::int64_t min_product(Range x, Range w) {
  const std::int64_t a = x.lo, b = x.hi, c = w.lo, d = w.hi;
  return std::min(std::min(a * c, a * d), std::min(b * c, b * d));
}

// How many products always fit a register of `bits` bits, whatever their values and order.
constexpr std::int64_t max_terms(int bits, Range x, Range w) {
  const std::int64_t up = std::max<std::int64_t>(max_product(x, w), 1);
  const std::int64_t down = std::max<std::int64_t>(-min_product(x, w), 1);
  return std::min(largest(bits) / up, -smallest(bits) / down);
}

}  // namespace oaq
