// Loops of known length written out, whatever the compiler makes of loops: registers of a tile have no index.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace oaq {
namespace {

// body(0), body(1), ...: each argument converts to a constant.
template <int kTimes, typename Body>
[[gnu::always_inline]] inline void unrolled(Body body) {
  [&]<int... kAt>(std::integer_sequence<int, kAt...>) __attribute__((always_inline)) {
    (body(std::integral_constant<int, kAt>{}), ...);
  }(std::make_integer_sequence<int, kTimes>{});
}

// Registers of a tile, by row and column.
template <typename Register, int kRows, int kColumns>
struct Grid {
  Register at[static_cast<std::size_t>(kRows)][static_cast<std::size_t>(kColumns)];
};

}  // namespace
}  // namespace oaq
