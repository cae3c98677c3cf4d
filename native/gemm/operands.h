// Where matrix kernels find the operands of a convolution, in the cheapest of three ways:
//
// * direct: in the tensor, under a 1x1 window that visits every position;
// * in lines: in the tensor's lines, between copies of the zero point, where what a line of the window sees lies
//   together;
// * gathered: copied for every position, which costs 3 to 6 % of a layer with a 3x3 window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "conv/conv.h"
#include "conv/padded_lines.h"
#include "conv/patches.h"
#include "gemm/gemm.h"
#include "gemm/regions.h"

namespace oaq {

// Positions of outputs: `columns` in each of `lines` lines.
struct Block {
  const std::uint8_t* x = nullptr;  // of the first
  std::ptrdiff_t stride = 0;        // bytes from one position to the next
  std::ptrdiff_t line = 0;          // from one line to the next
  std::int64_t lines = 0;
  std::int64_t columns = 0;
  std::int64_t first = 0;  // its place among the results
  std::int64_t next = 1;   // places from one position to the next
  std::int64_t below = 0;  // from one line to the next
};

// Steps that one register sums, in packed K order.
struct Run {
  std::int64_t first;  // byte of k
  std::int64_t steps;
};

// Whether a row reads the windows of a convolution in lines. The cost model of plans asks it too.
bool reads_lines(const Row& row, const Window& window, const Place& x, const Place& y, std::int64_t groups);

class Operands {
 public:
  explicit Operands(const ConvSpec& spec);

  // Which of the three ways it is.
  std::string_view name() const { return lines_ ? "in lines" : patches_.direct() ? "direct" : "gathered"; }

  // Bytes of k of one position, filled up to a whole step.
  std::int64_t bytes() const { return patches_.bytes(); }

  // Positions come in units: lines of outputs where operands lie in lines, else one by one.
  std::int64_t units() const { return lines_ ? height_ : height_ * width_; }
  std::int64_t unit() const { return lines_ ? width_ : 1; }
  std::int64_t block_units() const { return block_units_; }

  // Whether so many threads all get enough units.
  bool serve(int threads) const { return units() >= threads * (lines_ ? 1 : kFewPositions); }

  // Bytes of scratch that block() needs.
  std::size_t scratch_bytes() const { return scratch_bytes_; }

  // Regions of outputs, each with pieces of its own: a single one unless windows are read in lines.
  const std::vector<Region>& regions() const { return regions_; }

  // Adds what a region sees of a run, in pieces that lie together, of which the last says what becomes of the sums; or
  // nothing. `left_out`: bytes of weights since the last piece there is.
  void add_pieces(const Run& run, const Region& region, After after, std::int64_t& left_out,
                  std::vector<Piece>& to) const;

  // The part of a block of `count` units from `unit` on that lies in a region; no lines if none does.
  Block part(const Block& block, std::int64_t unit, const Region& region) const;

  // `count` units from `unit` on, at most block_units().
  Block block(const std::uint8_t* x, std::int64_t unit, std::int64_t count, std::int64_t group,
              std::uint8_t* scratch) const;

 private:
  static constexpr int kFewPositions = 8;  // per thread: with fewer, threads share outputs instead

  Patches patches_;
  std::optional<PaddedLines> lines_;
  std::int64_t height_, width_, step_, tile_m_, channels_, stride_, block_units_;
  std::int64_t line_bytes_;    // of k, in one line of the window
  std::int64_t step_weights_;  // bytes
  std::vector<Region> regions_;
  std::ptrdiff_t line_step_ = 0;
  std::size_t scratch_bytes_ = 0;
};

}  // namespace oaq
