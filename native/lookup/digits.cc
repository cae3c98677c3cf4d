// The arithmetic of lookup/digits.h, in 64 bits.
#include "lookup/digits.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <stdexcept>

#include "base/sizes.h"
#include "conv/patches.h"

namespace oaq {
namespace {

// Bits [begin, end) of 64.
constexpr std::uint64_t bits(std::int64_t begin, std::int64_t end) {
  const auto first = [](std::int64_t count) {
    return count > 63 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
  };
  return first(end) & ~first(begin);
}

// Largest integer at most a / b, for b > 0.
constexpr std::int64_t divided_down(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }

}  // namespace

Grid::Grid(const ConvSpec& spec)
    : window_(spec.window),
      direct_(oaq::is_direct(spec.window)),
      shares_lines_(!direct_ && !spec.window.is_volume() && spec.window.dilation[0] == 1),
      phases_(shares_lines_ ? std::min(spec.window.stride[0], spec.window.kernel[0]) : 1),
      x_height_(spec.x.height / spec.window.planes.x),
      x_width_(spec.x.width),
      y_height_(spec.y.height / spec.window.planes.y),
      y_width_(spec.y.width),
      x_lines_(spec.x.height),
      y_lines_(spec.y.height) {
  if (direct_) {
    x_width_ = y_width_ = x_lines_ * x_width_;
    x_lines_ = y_lines_ = x_height_ = y_height_ = 1;
  }
  const std::int64_t stride = window_.stride[1];
  phase_.assign(static_cast<std::size_t>(stride), 0);
  if (direct_ || stride == 1) return;
  for (std::int64_t phase = 0; phase < stride; ++phase) {
    phase_[static_cast<std::size_t>(phase)] = static_cast<std::int64_t>(order_.size());
    for (std::int64_t column = phase; column < x_width_; column += stride) order_.push_back(column);
  }
}

// The tensor's line under a line of the window, or -1.
std::int64_t Grid::input_line(std::int64_t line, std::int64_t tap_line) const {
  const Planes& planes = window_.planes;
  const std::int64_t plane =
      line / y_height_ * planes.stride - planes.before + tap_line / window_.kernel[0] * planes.dilation;
  const std::int64_t inside =
      line % y_height_ * window_.stride[0] - window_.padding[0] + tap_line % window_.kernel[0] * window_.dilation[0];
  if (plane < 0 || plane >= planes.x || inside < 0 || inside >= x_height_) return -1;
  return plane * x_height_ + inside;
}

Span Grid::pixels(Span positions) const {
  if (direct_) return positions;
  std::int64_t least = x_lines_, most = -1;
  for (std::int64_t line = positions.begin / y_width_; line * y_width_ < positions.end; ++line)
    for (std::int64_t tap = 0; tap < window_.lines(); ++tap) {
      const std::int64_t input = input_line(line, tap);
      if (input < 0) continue;
      least = std::min(least, input);
      most = std::max(most, input);
    }
  if (most < 0) return {0, 0};
  return {least * x_width_, (most + 1) * x_width_};
}

void Grid::find_pixels(std::int64_t first, std::int64_t last, std::int64_t count, std::int64_t bytes,
                       std::int64_t* to) const {
  std::int64_t line = first / x_width_ * x_width_, column = first % x_width_;
  for (std::int64_t i = 0; i < count; ++i) {
    if (first + i >= last) {
      to[i] = to[i - 1];
      continue;
    }
    to[i] = (line + (order_.empty() ? column : order_[static_cast<std::size_t>(column)])) * bytes;
    if (++column == x_width_) column = 0, line += x_width_;
  }
}

std::int64_t Grid::most_pixels(std::int64_t units) const {
  if (direct_) return units;
  const std::int64_t reach = (units - 1) * window_.stride[0] + (window_.kernel[0] - 1) * window_.dilation[0] + 1;
  return (window_.is_volume() ? x_lines_ : std::min(x_lines_, reach)) * x_width_;
}

std::int64_t Grid::pieces(const Columns& columns, Span lines, std::int64_t most_lines, int most, std::int64_t first,
                          LookupPiece* to) const {
  if (joins_lines()) return joined_pieces(columns, lines, most, first, to);
  const std::int64_t stride = window_.stride[1];
  const std::int64_t offset = direct_ ? 0 : columns.tap * window_.dilation[1] - window_.padding[2];
  const std::int64_t shift = divided_down(offset, stride);  // in columns of the same remainder
  const std::int64_t left = divided_up(std::max<std::int64_t>(-offset, 0), stride);
  const std::int64_t right = offset < x_width_ ? divided_up(x_width_ - offset, stride) : 0;
  const std::int64_t phase = phase_[static_cast<std::size_t>(offset - shift * stride)];
  std::int64_t pieces = 0;
  const auto add = [&](std::int64_t input, std::int64_t line, const Span& of) {
    for (std::int64_t column = of.begin; column < of.end; column += most) {
      const std::int64_t count = std::min<std::int64_t>(most, of.end - column);
      const std::int64_t begin = std::clamp<std::int64_t>(left - column, 0, count);
      const std::int64_t end = std::clamp<std::int64_t>(right - column, begin, count);
      LookupPiece piece{line * y_width_ + column - (direct_ ? of.begin : 0), 0, 0, static_cast<int>(count)};
      if (input >= 0 && begin < end) {
        piece.from = input * x_width_ + phase + shift + column - first;
        piece.inside = bits(begin, end);
      }
      to[pieces++] = piece;
    }
  };
  if (direct_) {
    add(0, 0, lines);
    return pieces;
  }
  // Beyond it no output looks, and no sheet reaches.
  const std::int64_t last = (lines.end - 1) * window_.stride[0] + window_.kernel[0] - 1 - window_.padding[0];
  for (std::int64_t at = 0; at < phases_; ++at)
    for (std::int64_t line = 0; line < phase_lines(lines.size()); ++line) {
      std::int64_t input = 0;
      if (shares_lines_) {
        input = (lines.begin + line) * window_.stride[0] + at - window_.padding[0] + columns.below;
        if (input < 0 || input >= x_height_ || input > last) input = -1;
      } else {
        input = input_line(lines.begin + line, columns.tap_line);
      }
      add(input, at * phase_lines(most_lines) + line, {0, y_width_});
    }
  return pieces;
}

// As many positions as a vector has, whatever lines they are of.
std::int64_t Grid::joined_pieces(const Columns& columns, Span lines, int most, std::int64_t first,
                                 LookupPiece* to) const {
  const std::int64_t offset = columns.tap * window_.dilation[1] - window_.padding[2], width = y_width_;
  const std::int64_t left = std::clamp<std::int64_t>(-offset, 0, width),
                     right = std::clamp(width - offset, left, width);
  const std::int64_t input = lines.begin - window_.padding[0] + columns.below;  // of the first line
  const std::int64_t end_line = std::min(x_height_, lines.end + window_.kernel[0] - 1 - window_.padding[0]) - input;
  const std::int64_t size = phase_lines(lines.size()) * width;
  std::int64_t pieces = 0;
  for (std::int64_t begin = 0; begin < size; begin += most) {
    LookupPiece piece{begin, begin + input * width + offset - first, 0,
                      static_cast<int>(std::min<std::int64_t>(most, size - begin))};
    for (std::int64_t line = begin / width; line * width < begin + piece.count; ++line) {
      if (line < -input || line >= end_line) continue;
      const std::int64_t at = line * width - begin;
      piece.inside |= bits(std::clamp<std::int64_t>(at + left, 0, piece.count),
                           std::clamp<std::int64_t>(at + right, 0, piece.count));
    }
    if (!piece.inside) piece.from = 0;
    to[pieces++] = piece;
  }
  return pieces;
}

Sheets::Sheets(const ConvSpec& spec, const Grid& grid) : operands(spec.row->sums.step) {
  const std::int64_t channels = spec.x.channels / spec.groups, taps = spec.window.kernel[1];
  const auto terms = static_cast<std::int64_t>(bytes_of({spec.window.taps(), channels}));
  if (terms > std::numeric_limits<std::int32_t>::max()) throw std::invalid_argument("a window of 2^31 bytes or more");
  using Part = std::array<std::int64_t, 4>;  // sheet, then Columns
  std::map<std::vector<std::int32_t>, std::int32_t> sheet_of;
  std::map<std::vector<Part>, std::int32_t> stream_of;
  std::map<std::array<std::int64_t, 4>, std::vector<Share>> shares_of;  // whether they are later ones, and Columns
  for (std::int64_t k = 0; k < terms; k += operands) {
    std::vector<Part> parts;
    const std::int64_t first_line = k / channels / taps;
    for (std::int64_t begin = k, end = 0; begin < std::min(k + operands, terms); begin = end) {
      const std::int64_t tap = begin / channels, line = tap / taps;
      end = std::min({(tap + 1) * channels, k + operands, terms});
      std::vector<std::int32_t> digit(static_cast<std::size_t>(operands), 0);
      for (std::int64_t i = begin; i < end; ++i)
        digit[static_cast<std::size_t>(i - k)] = static_cast<std::int32_t>(1 + i - tap * channels);
      const auto [place, is_new] = sheet_of.emplace(digit, static_cast<std::int32_t>(count()));
      if (is_new) digits.insert(digits.end(), digit.begin(), digit.end());
      const std::int64_t below = grid.shares_lines() ? line - first_line : 0;
      parts.push_back({place->second, tap % taps, below, grid.shares_lines() ? 0 : line});
    }
    const auto [place, is_new] = stream_of.emplace(parts, static_cast<std::int32_t>(streams));
    steps.push_back({place->second, first_line});
    if (!is_new) continue;
    ++streams;
    for (std::size_t part = 0; part < parts.size(); ++part)
      shares_of[{part > 0, parts[part][1], parts[part][2], parts[part][3]}].push_back(
          {place->second, static_cast<std::int32_t>(parts[part][0]), part == 0});
  }
  for (const auto& [where, some] : shares_of) {
    first.push_back(shares.size());
    columns.push_back({where[1], where[2], where[3]});
    shares.insert(shares.end(), some.begin(), some.end());
  }
  first.push_back(shares.size());
  add_rows();
}

void Sheets::add_rows() {
  const std::int32_t* digit = digits.data();
  std::int32_t next = 0;
  for (std::int64_t sheet = 0; sheet < count(); ++sheet, digit += operands) {
    bool is_row = digit[0] > 0;
    for (int i = 1; i < operands; ++i) is_row = is_row && digit[i] == digit[0] + i;
    const std::int32_t begin = is_row ? digit[0] : 0;
    if (!rows.empty() && begin == next)
      ++rows.back().count;
    else
      rows.push_back({begin, 1});
    next = is_row ? begin + operands : 0;
  }
}

}  // namespace oaq
