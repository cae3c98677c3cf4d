// Copies of the lines of windows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace oaq {

// Bytes that a copy may read and write past its end.
constexpr int kCopySlack = 32;

// `count` lines of `bytes` each, and up to kCopySlack - 1 more.
struct LineCopies {
  const std::uint8_t* from;
  std::ptrdiff_t from_stride;
  std::uint8_t* to;
  std::ptrdiff_t to_stride;
  int count;
  int bytes;
};
using CopyLines = void (*)(const LineCopies&);

void copy_lines(const LineCopies& lines);
void copy_lines_avx2(const LineCopies& lines);

}  // namespace oaq
