// The table of kernel rows: what each computes, on which operands, in which registers. Selection, tests, benchmarks and
// the proof read this table and nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/isa.h"
#include "base/order.h"

namespace oaq {

enum class Overflow : std::uint8_t { kExact, kSaturates, kWraps };

struct Range {
  int lo;
  int hi;
};

// How one output is summed. One step consumes `step` values of k; products are summed in groups of `group` inside one
// instruction, which overflows as `group_overflow` says at 16 bits; group sums go to `lanes` registers of `bits` bits
// in turn, which overflow as `overflow` says and are added to an s32 sum after at most `max_run` steps (0: no limit of
// the row's own).
struct Register {
  int bits;
  Overflow overflow;
  int step;
  int group;
  Overflow group_overflow;
  int lanes;
  int max_run;
};

// What a row multiplies of a u8 in memory: u8 - shift. All its operands, as multiplied, lie in `range`.
struct Operand {
  int shift;
  Range range;
};

// One line of rows.inc.
struct Row {
  std::string_view name;
  std::string_view family;
  Isa isa;
  Register sums;
  Operand x;
  Range w;
  Leaving leaving;
  int tile_m;  // positions computed together
  int tile_n;  // outputs that share a schedule
  int parts;   // a tile whose last outputs are missing may be computed in so many equal parts
};

inline constexpr Range kU8{0, 255};
inline constexpr Range kS8{-128, 127};

inline constexpr Operand kRawU8{0, kU8};
inline constexpr Operand kShiftedS8{128, kS8};
inline constexpr Operand kSevenBit{0, {0, 127}};
inline constexpr Operand kOneBit{0, {0, 1}};
inline constexpr Operand kTwoBits{0, {0, 3}};
inline constexpr Operand kThreeBits{0, {0, 7}};

// Weights whose product with such an operand fits 8 bits.
inline constexpr Range kThirdOfS8{-42, 42};
inline constexpr Range kSeventhOfS8{-18, 18};

inline constexpr Register kPairs16{16, Overflow::kWraps, 4, 2, Overflow::kSaturates, 2, 0};
inline constexpr Register kPairs32{16, Overflow::kWraps, 4, 2, Overflow::kSaturates, 2, 1};
// Sums of up to four steps, in registers that are no run's own: gemm/x86/runs.py.
inline constexpr Register kRuns32{16, Overflow::kWraps, 4, 2, Overflow::kSaturates, 2, 4};
// Two quads of k in one step: lane 0 sums the pairs (0, 1) and (4, 5), lane 1 the pairs (2, 3) and (6, 7).
inline constexpr Register kQuads32{16, Overflow::kWraps, 8, 2, Overflow::kSaturates, 2, 1};
inline constexpr Register kQuads{32, Overflow::kExact, 4, 1, Overflow::kExact, 1, 0};
// Sums of a step looked up modulo 2^8, added up in a byte: lookup/lookup.h.
inline constexpr Register kTwos8{8, Overflow::kWraps, 2, 2, Overflow::kWraps, 1, 0};
inline constexpr Register kThrees8{8, Overflow::kWraps, 3, 3, Overflow::kWraps, 1, 0};
inline constexpr Register kFours8{8, Overflow::kWraps, 4, 4, Overflow::kWraps, 1, 0};
inline constexpr Register kSixes8{8, Overflow::kWraps, 6, 6, Overflow::kWraps, 1, 0};
// Products of 16-bit operands, kept in 16 bits: lane i sums the products k = i of every four.
inline constexpr Register kQuad16{16, Overflow::kWraps, 4, 1, Overflow::kExact, 4, 0};
// smlal and smlal2: lane i sums the products k = i and k = i + 8 of every sixteen.
inline constexpr Register kSixteen16{16, Overflow::kWraps, 16, 1, Overflow::kExact, 8, 0};
inline constexpr Register kSixteen32{16, Overflow::kWraps, 16, 1, Overflow::kExact, 8, 1};
inline constexpr Register kSixteens{32, Overflow::kExact, 16, 1, Overflow::kExact, 1, 0};
// A row of a tile of AMX.
inline constexpr Register kSixtyFours{32, Overflow::kExact, 64, 1, Overflow::kExact, 1, 0};
inline constexpr Register kEights{32, Overflow::kExact, 8, 1, Overflow::kExact, 1, 0};
inline constexpr Register kTaps16{16, Overflow::kWraps, 2, 2, Overflow::kSaturates, 1, 0};
inline constexpr Register kTap16{16, Overflow::kWraps, 1, 1, Overflow::kExact, 1, 0};
inline constexpr Register kTap{32, Overflow::kExact, 1, 1, Overflow::kExact, 1, 0};
inline constexpr Register kTapPairs{32, Overflow::kExact, 2, 1, Overflow::kExact, 1, 0};
inline constexpr Register kTapQuads{32, Overflow::kExact, 4, 1, Overflow::kExact, 1, 0};

// Every row compiled into this module.
std::span<const Row> rows();

// Rows of dynamic layers besides those, which no plan of a program may use.
std::span<const Row> dynamic_rows();

// The matrix row of that name among both, which this CPU can run; throws std::invalid_argument.
const Row& usable_dynamic_row(std::string_view name);

// The row of that name, which this CPU can run and which belongs to that family; throws std::invalid_argument.
const Row& usable_row(std::string_view name, std::string_view family);

std::string_view name_of(Overflow overflow);

}  // namespace oaq
