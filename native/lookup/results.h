// How sums of bytes become results: the quickest way that a tile of outputs allows.
//
//   residues    sums modulo 2^8 and less, straight from the registers, by a table of 256 that has the bias in it
//   thresholds  a result of few values is how many thresholds a 16-bit sum has reached: every requantization rises
//               with the sum, and where it rises is found once. Straight from the registers where a channel's
//               thresholds lie within a byte of one another
//   words       any other of at most kMostRuns runs: as s32 in registers, by requantize/rounders.h; straight from those
//               of the sums if they are multiplied as floats that fit s32
//   s32         what is left, by requantize/loops.h
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "conv/conv.h"
#include "lookup/lookup.h"
#include "lookup/tables.h"

namespace oaq {

class LookupResults {
 public:
  LookupResults(const ConvSpec& spec, const LookupLoops& loops, const Schedule& schedule);

  std::size_t scratch_bytes() const { return scratch_bytes_; }

  // The outputs of one tile, and what they are summed from.
  struct Tile {
    std::size_t channel;  // of the first
    std::int64_t columns;
    std::int32_t runs;
    LookupTables::Tile tables;
    std::span<const LookupStretch> stretches;
  };

  // Sums a tile at so many positions, and up to a vector behind them; the bytes of its outputs are `pitch` apart.
  void leave(const Tile& tile, const std::uint8_t* index, std::int64_t positions, std::uint8_t* results,
             std::int64_t pitch, std::uint8_t* scratch) const;

 private:
  enum class Way { kResidues, kLevels, kThresholds, kScales, kWords, kWide };
  void add_residues(const ConvSpec& spec);
  void add_thresholds(const ConvSpec& spec, const Schedule& schedule);
  bool add_levels();
  bool add_scales(const ConvSpec& spec);
  std::int32_t add_of(const Tile& tile, std::int64_t n) const;
  void leave_each(const Tile& tile, const LookupCall& call, int vectors, std::uint8_t* results,
                  std::int64_t pitch) const;
  LookupCall call_of(const Tile& tile, const std::uint8_t* index, std::uint8_t* scratch) const;
  void leave_wide(const Tile& tile, const std::uint8_t* index, int vectors, std::uint8_t* results, std::int64_t pitch,
                  std::uint8_t* scratch) const;

  const LookupLoops& loops_;
  Isa isa_;
  Requant requant_;
  std::vector<std::int32_t> bias_;
  int lo_, levels_ = 0;
  Way way_ = Way::kWide;
  AlignedVector<std::uint8_t> residues_;               // (channels, 256)
  std::vector<std::uint16_t> thresholds_;              // (channels, levels)
  std::vector<std::uint16_t> below_;                   // (channels): LookupLevels, with room for a tile
  std::vector<float> scale_;                           // (channels), with room for a tile
  std::vector<std::uint8_t> bytes_;                    // (channels, levels): likewise
  std::size_t words_bytes_, kept_at_, scratch_bytes_;  // of words; of those twice, and of s32 sums; and of kept bytes
};

}  // namespace oaq
