// Regions of a convolution's outputs: at the border, windows see padding, and products with zeros need not be summed.
//
// Positions of a region see the image at the same places of the window. What they leave out is zero for certain, so
// every sum is the same integer, in every register, as if it were not left out.
#pragma once

#include <cstdint>
#include <vector>

#include "conv/conv.h"

namespace oaq {

// Places of a window, from the first to the one behind the last along either axis.
struct Seen {
  std::int64_t line, line_end;
  std::int64_t column, column_end;
};

// Outputs [line, line + lines) by [column, column + columns), and what of the window sees the image there.
struct Region {
  std::int64_t line, lines;
  std::int64_t column, columns;
  Seen seen;

  // Positions are computed in groups of at most so many along a line, or along a column if those are fewer groups.
  bool goes_down(std::int64_t tile_m) const;
};

// All outputs, and all of the window.
Region whole_of(const Window& window, const Place& y);

// Regions that together are all outputs, those that see the most first; a single one if leaving out what sees padding
// gains little, since groups of positions become smaller. The cost model of plans asks it too.
std::vector<Region> regions_of(const Window& window, const Place& x, const Place& y, std::int64_t tile_m);

}  // namespace oaq
