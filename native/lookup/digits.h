// Which operands make up each index, and where the pixels lie that positions see. Offsets only.
//
// A step's operands are neighbours in packed K order, which may belong to two taps or more. What a tap gives an index
// depends on its channels only, so indices are made once per pixel, not once per tap: a sheet for each choice of
// channels that occurs. An index of several taps is the sum of what their sheets hold.
//
// A stream is what a column of the window sees, for each column of the output and each line that some line of the
// window falls on; positions of several lines of the output are neighbours in it. Lines that leave different remainders
// by the stride lie apart, so that every step finds its indices one after another, from its own line on.
#pragma once

#include <cstdint>
#include <vector>

#include "conv/conv.h"
#include "lookup/lookup.h"

namespace oaq {

struct Span {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

// Lines and columns of a convolution; one line of all positions under a window that sees one pixel in each.
class Grid {
 public:
  explicit Grid(const ConvSpec& spec);

  std::int64_t positions() const { return y_lines_ * y_width_; }

  // One line of all positions.
  bool is_direct() const { return direct_; }

  // Positions whose operands are made ready together: a line, or any one.
  std::int64_t unit() const { return direct_ ? 1 : y_width_; }

  // Pixels of the tensor that positions see, in the order of sheets; empty if they see none.
  Span pixels(Span positions) const;

  // No more than this many for so many units.
  std::int64_t most_pixels(std::int64_t units) const;

  // Whether that is the order in which they lie in the tensor.
  bool is_in_order() const { return order_.empty(); }

  // Where the pixels at places [first, last) of that order lie in a tensor of so many bytes a pixel; the last one again
  // up to `count`.
  void find_pixels(std::int64_t first, std::int64_t last, std::int64_t count, std::int64_t bytes,
                   std::int64_t* to) const;

  // Lines of a stream for so many lines of outputs, in all phases.
  std::int64_t stream_lines(std::int64_t lines) const { return phases_ * phase_lines(lines); }

  // Where a line of the window finds its first line, of a stream for so many lines of outputs.
  std::int64_t first_line(std::int64_t tap_line, std::int64_t lines) const {
    if (!shares_lines_) return 0;
    return tap_line % phases_ * phase_lines(lines) + tap_line / window_.stride[0];
  }

  // Whether lines of the window differ in where they begin in a stream; if not, each has streams of its own.
  bool shares_lines() const { return shares_lines_; }

  // Of a piece, if vectors were of any length.
  std::int64_t longest_piece() const { return joins_lines() ? stream_lines(y_lines_) * y_width_ : y_width_; }

  // What the columns of a stream hold for outputs from `line` on, in pieces of at most `most`: of a tap of the window's
  // line, as many input lines below the line that the stream begins with. `from` counts from place `first` of the
  // pixels. Returns how many: at most stream_lines * ceil(columns / most). `most` is at most 64.
  struct Columns {
    std::int64_t tap, below, tap_line;
  };
  // Whether a stream of them holds the tensor's pixels in their order, zero points in front of them and behind.
  bool is_in_place(const Columns& columns) const {
    return joins_lines() && columns.below == 0 && columns.tap * window_.dilation[1] == window_.padding[2];
  }

  // How many positions of such a stream, for outputs from `line` on, lie in front of `pixels`, which are not empty.
  std::int64_t before(std::int64_t line, Span pixels) const {
    return pixels.begin - (line - window_.padding[0]) * y_width_;
  }

  std::int64_t pieces(const Columns& columns, Span lines, std::int64_t most_lines, int most, std::int64_t first,
                      LookupPiece* to) const;

 private:
  std::int64_t input_line(std::int64_t line, std::int64_t tap_line) const;
  std::int64_t joined_pieces(const Columns& columns, Span lines, int most, std::int64_t first, LookupPiece* to) const;

  // Positions that follow one another see pixels that do, from one line to the next as well.
  bool joins_lines() const {
    return shares_lines_ && window_.stride[0] == 1 && window_.stride[1] == 1 && x_width_ == y_width_;
  }

  std::int64_t phase_lines(std::int64_t lines) const {
    return lines + (shares_lines_ ? (window_.kernel[0] - 1) / window_.stride[0] : 0);
  }

  Window window_;
  bool direct_, shares_lines_;
  std::int64_t phases_;                                   // of lines
  std::int64_t x_height_, x_width_, y_height_, y_width_;  // of a plane
  std::int64_t x_lines_, y_lines_;                        // of all planes
  std::vector<std::int64_t> order_;                       // of columns, where windows pass over some
  std::vector<std::int64_t> phase_;                       // where the columns begin that leave each remainder
};

// The sheets of a convolution, what they give to which streams, and where each step finds its index.
struct Sheets {
  Sheets(const ConvSpec& spec, const Grid& grid);

  std::int64_t count() const { return static_cast<std::int64_t>(digits.size()) / operands; }

  // Whether they are of two neighbours each, of all so many channels, and those are a multiple of sixteen.
  bool are_pairs(std::int64_t channels) const {
    return operands == 2 && channels % 16 == 0 && rows.size() == 1 && rows[0].first == 1 &&
           rows[0].count * 2 == channels;
  }

  struct Share {
    std::int32_t stream, sheet;
    bool is_first;
  };

  int operands;
  std::vector<std::int32_t> digits;  // (count, operands): 1 + channel, 0 for none
  std::vector<SheetRow> rows;
  std::vector<Share> shares;           // those that begin streams first; then by columns
  std::vector<Grid::Columns> columns;  // of each group of shares
  std::vector<std::size_t> first;      // of each group; at last, how many shares there are
  std::int64_t streams = 0;
  struct Step {
    std::int32_t stream;
    std::int64_t tap_line;
  };
  std::vector<Step> steps;

 private:
  void add_rows();
};

}  // namespace oaq
