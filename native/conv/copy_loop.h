// The loop behind every copy of windows. Included by files built for one instruction set each; everything is in an
// unnamed namespace, so that each has its own.
#pragma once

#include "conv/copy_windows.h"

namespace oaq {
namespace {

// `Piece::copy(to, from)` copies Piece::kBytes. Without the call that a copy of unknown size is.
template <typename Piece>
inline void copy_all(const WindowCopies& given) {
  const WindowCopies all = given;  // a copy, so that stores are known not to change it
  const auto copy_taps = [&all](const std::uint8_t* from, std::uint8_t* to, std::int64_t taps) {
    for (std::int64_t tap = 0; tap < taps; ++tap, from += all.from_tap, to += all.bytes)
      for (std::int64_t at = 0; at < all.bytes; at += Piece::kBytes) Piece::copy(to + at, from + at);
    return to;
  };
  const std::uint8_t* window = all.from;
  std::uint8_t* to_window = all.to;
  for (std::int64_t i = 0; i < all.count; ++i, window += all.from_window, to_window += all.to_window) {
    const std::uint8_t* from = window;
    std::uint8_t* to = to_window;
    if (all.taps == 1)
      for (std::int64_t line = 0; line < all.lines; ++line, from += all.from_line) to = copy_taps(from, to, 1);
    else
      for (std::int64_t line = 0; line < all.lines; ++line, from += all.from_line) to = copy_taps(from, to, all.taps);
  }
}

}  // namespace
}  // namespace oaq
