// Matrix rows that multiply nothing: several operands of a few bits make an index of at most six, and the sum of their
// products with an output's weights is looked up, for a vector of positions at once.
//
//   index    operand 0 + operand 1 << bits + ...: `step` neighbours in packed K order, a byte of each position
//   table    its sums modulo 2^8, by index: of each step of each output
//   sums     a byte of each position and output; adding **wraps**, which the proof of every run excludes, or which sums
//            modulo 2^8 and less do not mind
//   a spill  into 16 bits, where a byte counts from -128 on: what 256 runs leave fits whatever they sum, so that s32 is
//            needed after so many only
#pragma once

#include <cstdint>

#include "base/table.h"

namespace oaq {

inline constexpr std::int64_t kLookupOutputs = 4;  // of a tile
inline constexpr std::int64_t kMostRuns = 256;     // whose sums fit 16 bits
inline constexpr int kRunStart = 128;              // a byte's value at the start of a run

// Pixels become sheets: indices of the same channels, pixel after pixel.
struct PackCall {
  const std::uint8_t* x;
  const std::int64_t* at;      // (width) bytes from x to the first channel of each pixel
  std::int64_t channels;       // up to 15 more, behind them, are read
  const std::int32_t* digits;  // (sheets, operands): 1 + channel, 0 for none
  std::int64_t sheets;
  int operands;
  int bits;              // of each
  std::uint8_t* planes;  // scratch: (1 + channels to a multiple of 16, width), of which the first is 0
  std::uint8_t* to;      // of the first sheet
  std::int64_t pitch;    // bytes from one sheet to the next
};

// Neighbours in a sheet that become neighbours in a stream.
struct LookupPiece {
  std::int64_t to;    // bytes from where a stream begins
  std::int64_t from;  // bytes from where a sheet begins; meaningless if there is nothing on the tensor
  int begin, end;     // those that lie on the tensor; others are the zero point
  int count;
};

// What a sheet gives a stream: all of its operands, or those of another tap are added.
struct LookupShare {
  std::int32_t stream;
  std::int32_t sheet;
  std::int32_t is_first;  // of the stream
};

struct GatherCall {
  const std::uint8_t* sheets;
  std::int64_t pitch;
  const LookupShare* shares;
  std::int64_t share_count;
  const LookupPiece* pieces;
  std::int64_t piece_count;  // in the order of `to`
  int widest;                // piece
  const std::uint8_t* pads;  // by sheet: the index of the zero point
  std::uint8_t* to;          // up to a vector behind a stream is written, too
  std::int64_t stream_pitch;
};

// Tables of consecutive steps.
struct BuildCall {
  const std::uint8_t* multiples;  // (operands, weights of the row, entries)
  const std::int8_t* packed;      // (steps, kLookupOutputs, operands)
  std::int64_t steps;
  int operands;
  Range weights;
  std::uint8_t* tables;  // (steps, kLookupOutputs, entries)
};

struct LookupRun {
  std::int32_t start, count;  // steps
};

struct LookupCall {
  const std::uint8_t* index;     // of the group's first position
  const std::int64_t* index_at;  // (steps): bytes from there to the step's
  const std::uint8_t* tables;
  const std::uint32_t* places;  // (executed steps, kLookupOutputs): bytes from the first table to that of the step
  const LookupRun* runs;
  std::int64_t run_count;  // 1 to kMostRuns
  // Where sums go, a group's vectors after one another for each of kLookupOutputs, the group's most apart: all 16-bit
  // words of bytes, added; and their upper bytes alone.
  std::uint16_t* words;
  std::uint16_t* uppers;
  std::uint8_t* bytes;  // or sums modulo 2^8, from 0 on, whatever the runs; null where words are wanted
  std::int64_t bytes_pitch;
};

// What is summed of one output in a group of positions.
struct LookupSums {
  const std::uint16_t* words;
  const std::uint16_t* uppers;
  std::int64_t positions;  // a multiple of the width
};

// One set of loops.
struct LookupLoops {
  int width;    // positions of a vector
  int entries;  // of a table
  int vectors;  // most of a group
  void (*pack)(const PackCall&);
  void (*gather)(const GatherCall&);
  void (*build)(const BuildCall&);
  void (*sum)(const LookupCall&, int vectors);
  // y = least + how many of the thresholds the sum has reached.
  void (*count)(const LookupSums&, const std::uint16_t* thresholds, int levels, std::uint8_t least, std::uint8_t* y);
  // s32: sum + add, beside what is there if `more`.
  void (*widen)(const LookupSums&, std::int32_t add, bool more, std::int32_t* sums);
  void (*look_up)(const std::uint8_t* table, std::int64_t count, std::uint8_t* y);  // each y by 256 entries
  // (outputs, positions) to positions `y_stride` apart; reads sheets of 16 outputs to their end.
  void (*store)(const std::uint8_t* results, std::int64_t pitch, std::int64_t outputs, std::int64_t positions,
                std::uint8_t* y, std::int64_t y_stride);

  std::int64_t positions() const { return std::int64_t{width} * vectors; }
};

#ifdef OAQ_X86
extern const LookupLoops kVbmiLookup, kAvx2Lookup;
#endif

// Null for a row that multiplies.
const LookupLoops* lookup_loops(const Row& row);

}  // namespace oaq
