// One table of 256 by shuffles of 16 that give 0 for what is at or above 128, on vectors V (base/x86/ymm.h). Included
// by files built for one instruction set each; everything is in an unnamed namespace, so that each has its own.
#pragma once

#include "steps/loops.h"

namespace oaq {
namespace {

// A value below 128 chooses among eight rows of 16: pshufb takes the row by its lower half while sixteen times the
// row's number is subtracted, and gives 0 once that is below 0. So each row holds what differs from the row before.
struct Rows {
  alignas(64) std::uint8_t of[16][16];

  explicit Rows(const std::uint8_t* table) { as_differences(table, of[0]); }
};

template <typename V>
void vector_lookup(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  constexpr std::size_t kVectors = 4, kBytes = static_cast<std::size_t>(V::kBytes), kBlock = kVectors * kBytes;
  std::size_t at = 0;
  if (count >= kBlock) {
    const Rows rows(table);
    const auto sixteen = V::all8(16), top = V::all8(128);
    for (; at + kBlock <= count; at += kBlock) {
      typename V::Integers entries[kVectors], index[kVectors];
      for (std::size_t v = 0; v < kVectors; ++v) entries[v] = V::zero();
      for (int half = 0; half < 2; ++half) {
        for (std::size_t v = 0; v < kVectors; ++v) {
          index[v] = V::load(x + at + v * kBytes);
          if (half) index[v] = V::bits_xor(index[v], top);
        }
        for (int row = 8 * half; row < 8 * half + 8; ++row) {
          const auto differences = V::repeat16(rows.of[row]);
          for (std::size_t v = 0; v < kVectors; ++v) {
            entries[v] = V::bits_xor(entries[v], V::shuffle8(differences, index[v]));
            index[v] = V::sub_saturated8(index[v], sixteen);
          }
        }
      }
      for (std::size_t v = 0; v < kVectors; ++v) V::store(y + at + v * kBytes, entries[v]);
    }
  }
  for (; at < count; ++at) y[at] = table[x[at]];
}

}  // namespace
}  // namespace oaq
