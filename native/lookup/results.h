// How sums of bytes become results: the quickest way that a tile of outputs allows.
//
//   residues    sums modulo 2^8 and less, straight from the registers, by a table of 256 that has the bias in it
//   thresholds  a result of few values is how many thresholds a 16-bit sum has reached: every requantization rises
//               with the sum, and where it rises is found once
//   s32         any other, by requantize/loops.h
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "conv/conv.h"
#include "lookup/lookup.h"

namespace oaq {

class LookupResults {
 public:
  LookupResults(const ConvSpec& spec, const LookupLoops& loops, const Schedule& schedule);

  std::size_t scratch_bytes() const { return scratch_bytes_; }

  // The outputs of one tile, and what they are summed from.
  struct Tile {
    std::size_t channel;  // of the first
    std::int64_t columns;
    const std::uint8_t* tables;
    const std::uint32_t* places;
    std::span<const LookupRun> runs;
  };

  // Of a group of positions.
  struct Index {
    const std::uint8_t* first;
    const std::int64_t* at;
  };

  // Sums a tile at so many vectors of positions; the bytes of its outputs are `pitch` apart.
  void leave(const Tile& tile, const Index& index, int vectors, std::uint8_t* results, std::int64_t pitch,
             std::uint8_t* scratch) const;

 private:
  void add_residues(const ConvSpec& spec);
  void add_thresholds(const ConvSpec& spec, const Schedule& schedule);
  void leave_wide(const Tile& tile, const Index& index, int vectors, std::uint8_t* results, std::int64_t pitch,
                  std::uint8_t* scratch) const;

  const LookupLoops& loops_;
  Isa isa_;
  Requant requant_;
  std::vector<std::int32_t> bias_;
  int lo_, levels_ = 0;
  bool has_residues_, has_thresholds_;
  AlignedVector<std::uint8_t> residues_;     // (channels, 256)
  std::vector<std::uint16_t> thresholds_;    // (channels, levels)
  std::size_t words_bytes_, scratch_bytes_;  // of words; of those twice, and of s32 sums
};

}  // namespace oaq
