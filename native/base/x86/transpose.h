// Bytes transposed within registers. Included by files built for one instruction set each; everything is in an unnamed
// namespace, so that each has its own.
#pragma once

namespace oaq {
namespace {

// 16 x 16 bytes in every 16 bytes of 16 registers V (base/x86/ymm.h), transposed: four times, registers i and i + 8 are
// interleaved.
template <typename V>
[[gnu::always_inline]] inline void transpose(typename V::Integers* rows) {
  typename V::Integers turned[16];
  for (int twice = 0; twice < 2; ++twice) {
    for (int i = 0; i < 8; ++i) {
      turned[2 * i] = V::low8(rows[i], rows[i + 8]);
      turned[2 * i + 1] = V::high8(rows[i], rows[i + 8]);
    }
    for (int i = 0; i < 8; ++i) {
      rows[2 * i] = V::low8(turned[i], turned[i + 8]);
      rows[2 * i + 1] = V::high8(turned[i], turned[i + 8]);
    }
  }
}

}  // namespace
}  // namespace oaq
