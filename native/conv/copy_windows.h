// Copies of whole windows, line by line.
#pragma once

#include <cstddef>
#include <cstdint>

namespace oaq {

// Bytes that a copy may read and write past its end.
constexpr int kCopySlack = 32;

// Bytes that one copy moves: on any CPU, and on AVX2.
constexpr int kCopyBytes = 16;
constexpr int kCopyBytesAvx2 = 32;

// `count` windows of `lines` lines of `taps` taps of `bytes` each. What is written past a tap, up to kCopySlack - 1
// bytes, lies where the next one goes or, after the last one, between two windows.
struct WindowCopies {
  const std::uint8_t* from;
  std::ptrdiff_t from_window;  // bytes from one window to the next
  std::ptrdiff_t from_line;
  std::ptrdiff_t from_tap;
  std::uint8_t* to;
  std::ptrdiff_t to_window;
  std::int64_t count;
  std::int64_t lines;
  std::int64_t taps;   // 1 where all of a line lie together
  std::int64_t bytes;  // of a tap, and from one to the next in `to`
};
using CopyWindows = void (*)(const WindowCopies&);

void copy_windows(const WindowCopies& windows);
void copy_windows_avx2(const WindowCopies& windows);

}  // namespace oaq
