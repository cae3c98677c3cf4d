// Matrix rows that multiply nothing: several operands of a few bits make an index of at most six, and the sum of their
// products with an output's weights is looked up, for a vector of positions at once.
//
//   index    operand 0 + operand 1 << bits + ...: `step` neighbours in packed K order, a byte of each position
//   table    its sums modulo 2^8, by index: of each step of each output
//   sums     a byte of each position and output; adding **wraps**, which the proof of every run excludes, or which sums
//            modulo 2^8 and less do not mind. Where no index whatever makes a run leave its byte, adding **saturates**
//            instead, which is the same there: some CPUs have units for it that look nothing up (`stays_in_bytes`)
//   a spill  into 16 bits, where a byte counts from -128 on: what 256 runs leave fits whatever they sum, so that s32 is
//            needed after so many only
#pragma once

#include <cstdint>

#include "base/table.h"
#include "requantize/loops.h"

namespace oaq {

inline constexpr std::int64_t kLookupOutputs = 4;  // of a tile
inline constexpr std::int64_t kMostRuns = 256;     // whose sums fit 16 bits
inline constexpr int kRunStart = 128;              // what a byte counts from when it is added to 16 bits
inline constexpr std::int64_t kKeptRuns = 8;       // bytes of so many wait to be added to 16 bits together
inline constexpr int kPlaceUnit = 8;               // bytes: places of tables have 16 bits

// Sheets of neighbouring channels, each from where the last ends; where `first` is 0, of any.
struct SheetRow {
  std::int32_t first;  // 1 + channel
  std::int32_t count;
};

// Pixels become sheets: indices of the same channels, pixel after pixel.
struct PackCall {
  const std::uint8_t* x;
  const std::int64_t* at;      // (width) bytes from x to the first channel of each pixel
  bool are_pairs;              // sheets are of two neighbours each, of all channels, which are a multiple of sixteen
  bool are_sixteens;           // pixels of sixteen bytes that follow one another
  std::int64_t channels;       // up to 15 more, behind them, are read
  const std::int32_t* digits;  // (sheets, operands): 1 + channel, 0 for none
  const SheetRow* rows;        // of all sheets, in their order
  std::int64_t row_count;
  int operands;
  int bits;              // of each
  std::uint8_t* planes;  // scratch: (1 + channels to a multiple of 16, width), of which the first is 0
  std::uint8_t* to;      // of the first sheet
  std::int64_t pitch;    // bytes from one sheet to the next
};

// Neighbours in a sheet that become neighbours in a stream.
struct LookupPiece {
  std::int64_t to;       // bytes from where a stream begins
  std::int64_t from;     // bytes from where a sheet begins; meaningless if there is nothing on the tensor
  std::uint64_t inside;  // bits of those that lie on the tensor; others are the zero point
  int count;             // at most a vector
};

// What a sheet gives a stream: all of its operands, or those of another tap are added.
struct LookupShare {
  std::int64_t to, from;  // bytes from the first stream, and from the first sheet
  std::uint8_t pad;       // the index of the zero point
  bool is_first;          // of the stream
};

struct GatherCall {
  const std::uint8_t* sheets;
  const LookupShare* shares;
  std::int64_t share_count;
  bool are_plain;  // each share is the first of its stream, and its index of the zero point is 0
  const LookupPiece* pieces;
  std::int64_t piece_count;  // in the order of `to`
  int widest;                // piece
  std::uint8_t* to;          // up to a vector behind a stream is written, too
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

// Steps whose indices lie as far apart, each from the last.
struct LookupStretch {
  std::int64_t at;  // of the first, in bytes from that of the group's first position
  std::int64_t apart;
  std::int32_t steps;
  std::int32_t ends_run;
};

// Results of few values: a byte for each threshold that sums are compared with, once `below` is taken off them.
struct LookupLevels {
  const std::uint16_t* below;      // of each of kLookupOutputs: one less than the sum of the lowest threshold
  const std::uint8_t* thresholds;  // (kLookupOutputs, count): from 1 on
  int count;
  std::uint8_t least;
};

// Results by multipliers that no s32 leaves s32 by, of sums to which `add` is added; of the numbers, zero and clamp.
struct LookupScales {
  const float* scale;       // of each of kLookupOutputs
  const std::int32_t* add;  // likewise
  RequantNumbers numbers;
};

struct LookupCall {
  const std::uint8_t* index;  // of the group's first position
  const LookupStretch* stretches;
  std::int64_t stretch_count;  // of 1 to kMostRuns runs; the last ends one
  const std::uint8_t* tables;
  const std::uint16_t* places;  // (executed steps, kLookupOutputs): kPlaceUnit bytes from the first table to that of
                                // the step; null where tables lie in the order of execution
  bool stays_in_bytes;          // no index takes any run out of its byte
  std::uint8_t* kept;           // scratch: bytes of kKeptRuns runs, a group's vectors for each of kLookupOutputs
  // Where sums go, a group's vectors after one another for each of kLookupOutputs, the group's most apart: all 16-bit
  // words of bytes, added; and their upper bytes alone.
  std::uint16_t* words;
  std::uint16_t* uppers;
  // `pitch` apart, by `levels` or `scales`; or sums modulo 2^8, whatever the runs; null where words are wanted.
  std::uint8_t* results;
  std::int64_t pitch;
  const LookupLevels* levels;
  const LookupScales* scales;
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
  // Results by the first numbers, of sums to which `add` is added.
  void (*requantize)(const LookupSums&, const RequantNumbers&, std::int32_t add, std::uint8_t* y);
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
