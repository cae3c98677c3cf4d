#include <immintrin.h>

#include "conv/copy_windows.h"

namespace oaq {

void copy_windows_avx2(const WindowCopies& given) {
  const WindowCopies all = given;  // a copy, so that stores are known not to change it
  const std::uint8_t* window = all.from;
  std::uint8_t* to_window = all.to;
  for (int i = 0; i < all.count; ++i, window += all.from_window, to_window += all.to_window) {
    const std::uint8_t* from = window;
    std::uint8_t* to = to_window;
    for (int line = 0; line < all.lines; ++line, from += all.from_line, to += all.bytes)
      for (int at = 0; at < all.bytes; at += kCopySlack)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at)));
  }
}

}  // namespace oaq
