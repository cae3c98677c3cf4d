// How results lie in a row's registers, asked of the row by drivers that know no instruction set.
//
//   kPlain        in the order of outputs
//   kUnpacked128  as x86's unpacking and packing instructions leave them, which work within 128-bit parts of a register
//
// A new order gets an enumerator here and a case in each function of order.cc.
#pragma once

#include <cstdint>

namespace oaq {

struct Row;

enum class LaneOrder : std::uint8_t { kPlain, kUnpacked128 };

// How results leave a row's functions: in which order, and whether as bytes of the output (requantized by the functions
// themselves) or as s32 sums, in the order of outputs, that the driver requantizes one by one.
struct Leaving {
  LaneOrder order;
  bool as_bytes;
};
inline constexpr Leaving kSumsInOrder{LaneOrder::kPlain, false};
inline constexpr Leaving kBytesInOrder{LaneOrder::kPlain, true};
inline constexpr Leaving kBytesUnpacked{LaneOrder::kUnpacked128, true};

// Matrix rows: the output of a tile, counted from the first, whose 16-bit multiplier lies at `place` of word_places().
// Two registers of sums are packed into one; they are vectors of one position if `whole`, else of two positions.
int word_output(const Row& row, int place, bool is_full);

// How many places there are: those of one register, twice as many as a tile of one register of sums has outputs.
int word_places(const Row& row);

// Depthwise rows: the channel of a tile whose s32 sum, bias and multiplier lie at `place` of (tile_n).
int sum_channel(const Row& row, int place);

// Likewise its 16-bit multiplier and bias.
int word_channel(const Row& row, int place);

// Likewise its weights of one step, in units of (taps of a step).
int weight_channel(const Row& row, int place);

}  // namespace oaq
