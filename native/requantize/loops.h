// Sums that lie one after another become bytes, once for any CPU and once per instruction set that has it wider. Every
// one computes the same integers, those of `requantized`.
//
//   float32_half_even   float32(sum) * scale, one rounding each, clamped as floats, then rounded half to even
//   fixed point         (sum * multiplier + 2^(shift - 1)) >> shift in s64   **exact**: below 2^62 + 2^61
//   ... then            that / 2^then, halves away from 0, in s64   **exact**: below 2^62 + 2^30
//   residues            table[sum mod 2^bits] (`look_up`)                      **exact**, however often the sum wrapped
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/isa.h"

namespace oaq {

// Plain data, so that no code built for one instruction set is shared with another. Arrays may be read up to a whole
// vector past the last number asked for (`Requant` leaves room).
struct RequantNumbers {
  const float* scale;              // null in fixed point
  const std::int32_t* multiplier;  // positive; null for floats, as are the next two
  const std::int32_t* shift;       // 1 to 62
  const std::int32_t* then;        // 0 to 31; null where sums are rounded once
  std::int32_t zero;
  std::int32_t lo;  // the clamp
  std::int32_t hi;
  bool fits;  // every sum's first rounding fits s32
};

// s32 sums of shape (rows, columns), each row `stride` sums after the last.
struct SumRows {
  const std::int32_t* first;
  std::int64_t stride;
  std::int64_t rows;
  std::int64_t columns;
};

// Tables of sums that count modulo 2^bits: one after another for the columns, or the same for all (stride 0).
struct Residues {
  const std::uint8_t* table;  // of the first column
  std::size_t stride;
  std::uint32_t mask;  // 2^bits - 1
};

// Every sum by the table of its column; rows of y are `y_stride` bytes apart. The same code on every CPU.
void look_up(const Residues& residues, const SumRows& sums, std::uint8_t* y, std::int64_t y_stride);

// Neither reads sums nor writes bytes past their ends.
struct RequantLoops {
  Isa isa;
  // Every sum by the numbers of its column; rows of y are `y_stride` bytes apart.
  void (*each)(const RequantNumbers& numbers, const SumRows& sums, std::uint8_t* y, std::int64_t y_stride);
  // All by the first numbers.
  void (*all)(const RequantNumbers& numbers, const std::int32_t* sums, std::size_t count, std::uint8_t* y);
};

// One sum by the numbers at `at`: the law.
std::uint8_t requantized(const RequantNumbers& numbers, std::int32_t sum, std::size_t at);

extern const RequantLoops kScalarRequant;
#ifdef OAQ_X86
extern const RequantLoops kAvx2Requant;
extern const RequantLoops kAvx512bwRequant;
#endif
#ifdef OAQ_ARM64
extern const RequantLoops kNeonRequant;
#endif
#ifdef OAQ_WASM
extern const RequantLoops kSimd128Requant;
#endif

// The widest that a row's instruction set includes.
const RequantLoops& requant_loops(Isa isa);

}  // namespace oaq
