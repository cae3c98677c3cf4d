// Bytes transposed within registers. Included by files built for one instruction set each; everything is in an unnamed
// namespace, so that each has its own.
#pragma once

#include <cstddef>

namespace oaq {
namespace {

// 16 x 16 bytes in every 16 bytes of 16 registers V (base/x86/ymm.h), transposed: four times, registers i and i + 8 are
// interleaved. Of half as many registers, those are i and i + 4: each 16 bytes are two rows of eight, 2 i and 2 i + 1,
// and end as a column of sixteen.
template <typename V, int kRegisters = 16>
[[gnu::always_inline]] inline void transpose(typename V::Integers* rows) {
  constexpr int kHalf = kRegisters / 2;
  typename V::Integers turned[static_cast<std::size_t>(kRegisters)];
  for (int twice = 0; twice < 2; ++twice) {
    for (int i = 0; i < kHalf; ++i) {
      turned[2 * i] = V::low8(rows[i], rows[i + kHalf]);
      turned[2 * i + 1] = V::high8(rows[i], rows[i + kHalf]);
    }
    for (int i = 0; i < kHalf; ++i) {
      rows[2 * i] = V::low8(turned[i], turned[i + kHalf]);
      rows[2 * i + 1] = V::high8(turned[i], turned[i + kHalf]);
    }
  }
}

}  // namespace
}  // namespace oaq
