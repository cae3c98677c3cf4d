// Sums modulo 2^32. A proof keeps the sums of a plan inside s32; a plan's bytes that nobody proved must not be
// undefined behaviour either.
#pragma once

#include <cstdint>

namespace oaq {

inline std::int32_t wrapping_sum(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

}  // namespace oaq
