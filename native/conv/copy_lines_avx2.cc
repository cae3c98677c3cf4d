#include <immintrin.h>

#include "conv/copy_lines.h"

namespace oaq {

void copy_lines_avx2(const LineCopies& given) {
  const LineCopies lines = given;  // a copy, so that stores are known not to change it
  const std::uint8_t* from = lines.from;
  std::uint8_t* to = lines.to;
  for (int i = 0; i < lines.count; ++i, from += lines.from_stride, to += lines.to_stride)
    for (int at = 0; at < lines.bytes; at += kCopySlack)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at)));
}

}  // namespace oaq
