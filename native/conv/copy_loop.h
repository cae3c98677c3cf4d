// The loop behind every copy of windows. Included by files built for one instruction set each; everything is in an
// unnamed namespace, so that each has its own.
#pragma once

#include "conv/copy_windows.h"

namespace oaq {
namespace {

// `Piece::copy(to, from)` copies Piece::kBytes. Without the call that a copy of unknown size is.
template <typename Piece>
inline void copy_all(const WindowCopies& windows) {
  const WindowCopies local = windows;  // a copy, so that stores are known not to change it
  const auto copy_taps = [&local](const std::uint8_t* from, std::uint8_t* to, std::int64_t taps) {
    for (std::int64_t tap = 0; tap < taps; ++tap, from += local.from_tap, to += local.bytes)
      for (std::int64_t at = 0; at < local.bytes; at += Piece::kBytes) Piece::copy(to + at, from + at);
    return to;
  };
  const std::uint8_t* window = local.from;
  std::uint8_t* to_window = local.to;
  for (std::int64_t i = 0; i < local.count; ++i, window += local.from_window, to_window += local.to_window) {
    const std::uint8_t* from = window;
    std::uint8_t* to = to_window;
    if (local.taps == 1)
      for (std::int64_t line = 0; line < local.lines; ++line, from += local.from_line) to = copy_taps(from, to, 1);
    else
      for (std::int64_t line = 0; line < local.lines; ++line, from += local.from_line)
        to = copy_taps(from, to, local.taps);
  }
}

}  // namespace
}  // namespace oaq
