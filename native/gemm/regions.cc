// Cuts the outputs of a convolution where windows begin to see padding. Sizes only.
#include "gemm/regions.h"

#include <algorithm>

#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::size_t kMostSpans = 17;  // of an axis: both borders of a window of nine
constexpr double kWorth = 63.0 / 64;    // of the cost: what regions have to come below

// Outputs of one axis whose windows see the image at places [from, to).
struct Span {
  std::int64_t first, count, from, to;
};

struct Axis {
  std::int64_t kernel, stride, dilation, before, size, outputs;

  Span whole() const { return {0, outputs, 0, kernel}; }

  Span at(std::int64_t output) const {
    const std::int64_t start = output * stride - before;  // of the window
    const std::int64_t from = start < 0 ? std::min(divided_up(-start, dilation), kernel) : 0;
    const std::int64_t to = size > start ? std::min(divided_up(size - start, dilation), kernel) : 0;
    return {output, 1, from, std::max(from, to)};
  }
};

Axis axis_of(const Window& window, int at, std::int64_t size, std::int64_t outputs) {
  return {window.kernel[at], window.stride[at], window.dilation[at], window.padding[2 * at], size, outputs};
}

// Neighbours that see the same are one span. Too many spans are none: the whole axis.
std::vector<Span> spans_of(const Axis& axis) {
  std::vector<Span> spans;
  const std::int64_t reach = axis.size + axis.before - (axis.kernel - 1) * axis.dilation;
  const std::int64_t end = reach > 0 ? std::min(divided_up(reach, axis.stride), axis.outputs) : 0;
  const std::int64_t begin = std::min(divided_up(axis.before, axis.stride), axis.outputs);
  for (std::int64_t output = 0; output < axis.outputs;) {
    Span span = axis.at(output);
    if (begin < end && output == begin) span = {begin, end - begin, 0, axis.kernel};
    if (!spans.empty() && spans.back().from == span.from && spans.back().to == span.to)
      spans.back().count += span.count;
    else
      spans.push_back(span);
    if (spans.size() > kMostSpans) return {axis.whole()};
    output += span.count;
  }
  return spans;
}

Region region_of(const Span& lines, const Span& columns) {
  return {lines.first, lines.count, columns.first, columns.count, {lines.from, lines.to, columns.from, columns.to}};
}

// Rows of positions, and a row for each group of them: loading weights takes about as long.
double cost_of(const Region& region, std::int64_t tile_m) {
  const bool down = region.goes_down(tile_m);
  const std::int64_t lines = down ? region.columns : region.lines, columns = down ? region.lines : region.columns;
  const Seen& seen = region.seen;
  return static_cast<double>(lines) * static_cast<double>(columns + divided_up(columns, tile_m)) *
         static_cast<double>((seen.line_end - seen.line) * (seen.column_end - seen.column));
}

double cost_of(const std::vector<Region>& regions, std::int64_t tile_m) {
  double cost = 0;
  for (const Region& region : regions) cost += cost_of(region, tile_m);
  return cost;
}

// Lines of outputs as they are, or cut into columns, whichever costs less.
std::vector<Region> cut(const Span& lines, const Axis& across, const std::vector<Span>& columns, std::int64_t tile_m) {
  std::vector<Region> whole{region_of(lines, across.whole())}, parts;
  for (const Span& span : columns) parts.push_back(region_of(lines, span));
  return cost_of(parts, tile_m) < cost_of(whole, tile_m) ? parts : whole;
}

}  // namespace

bool Region::goes_down(std::int64_t tile_m) const {
  return columns * divided_up(lines, tile_m) < lines * divided_up(columns, tile_m);
}

Region whole_of(const Window& window, const Place& y) {
  return {0, y.height, 0, y.width, {0, window.lines(), 0, window.kernel[1]}};
}

std::vector<Region> regions_of(const Window& window, const Place& x, const Place& y, std::int64_t tile_m) {
  const Axis down = axis_of(window, 0, x.height, y.height), across = axis_of(window, 1, x.width, y.width);
  const std::vector<Span> columns = spans_of(across);
  std::vector<Region> regions;
  for (const Span& lines : spans_of(down))
    for (const Region& region : cut(lines, across, columns, tile_m)) regions.push_back(region);
  const std::vector<Region> in_columns = cut(down.whole(), across, columns, tile_m);
  if (cost_of(in_columns, tile_m) <= cost_of(regions, tile_m)) regions = in_columns;
  const std::vector<Region> one{whole_of(window, y)};
  if (cost_of(regions, tile_m) > kWorth * cost_of(one, tile_m)) return one;
  const auto places = [](const Region& region) {
    return (region.seen.line_end - region.seen.line) * (region.seen.column_end - region.seen.column);
  };
  std::stable_sort(regions.begin(), regions.end(),
                   [&](const Region& a, const Region& b) { return places(a) > places(b); });
  return regions;
}

}  // namespace oaq
