// Sizes, and products of sizes, in 64 bits.
//
// Each size alone is small; their products are not. Every offset and number of bytes is computed as std::int64_t from
// sizes that are std::int64_t themselves, so that none is narrowed on the way, and what is asked of memory goes through
// `bytes_of`, which refuses what no machine has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace oaq {

// Of one buffer; where addresses have 32 bits, so few that sums of several fit.
inline constexpr std::int64_t kMostBytes = std::int64_t{1} << (sizeof(std::size_t) > 4 ? 40 : 29);

constexpr std::int64_t divided_up(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0); }

// The product of sizes >= 0, in bytes. Throws std::invalid_argument: it is more than kMostBytes.
inline std::size_t bytes_of(std::initializer_list<std::int64_t> sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (size < 0 || (size > 0 && product > kMostBytes / size))
      throw std::invalid_argument(sizeof(std::size_t) > 4 ? "a buffer of more than 2^40 bytes is needed"
                                                          : "a buffer of more than 2^29 bytes is needed");
    product *= size;
  }
  return static_cast<std::size_t>(product);
}

}  // namespace oaq
