// Checks of a convolution: sizes in 64 bits, segments against tiles and steps, weights against the row's range; and how
// far any operand can move each output's sum, exactly, in s64.
#include "conv/conv.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace oaq {
namespace {

constexpr std::int64_t kMost = 1 << 24;      // of an axis of a tensor that a window slides along
constexpr std::int64_t kMostWindow = 32767;  // kernel, stride, padding, dilation, as oaq.program has it

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

std::string text(std::int64_t value) { return std::to_string(value); }

struct Axis {
  std::int64_t kernel, stride, dilation, before, after;
};

Axis axis_of(const Window& window, int at) {
  return {window.kernel[at], window.stride[at], window.dilation[at], window.padding[2 * at],
          window.padding[2 * at + 1]};
}

void check_axis(const char* axis, const Axis& window, std::int64_t size, std::int64_t out) {
  const std::string name(axis);
  const auto [kernel, stride, dilation, before, after] = window;
  for (std::int64_t value : {size, out})
    if (value < 1 || value > kMost) refuse(name + ": " + text(value) + " is not a size in [1, 2^24]");
  for (std::int64_t value : {kernel, stride, dilation})
    if (value < 1 || value > kMostWindow) refuse(name + ": " + text(value) + " is not a size in [1, 32767]");
  for (std::int64_t value : {before, after})
    if (value < 0 || value > kMostWindow) refuse(name + ": a padding of " + text(value) + " is not in [0, 32767]");
  const std::int64_t reach = (kernel - 1) * dilation + 1;
  const std::int64_t room = size + before + after - reach;
  if (room < 0 || room / stride + 1 != out)
    refuse(name + ": a window of " + text(kernel) + " on " + text(size) + " does not give " + text(out));
}

}  // namespace

bool never_narrow(const Register& sums) { return sums.overflow == Overflow::kExact || sums.max_run == 1; }

void check_window(const Window& window, const Place& x, const Place& y) {
  const Planes& planes = window.planes;
  check_axis("planes", {planes.kernel, planes.stride, planes.dilation, planes.before, planes.after}, planes.x,
             planes.y);
  if (x.height % planes.x || y.height % planes.y)
    refuse(text(x.height) + " and " + text(y.height) + " lines are not " + text(planes.x) + " and " + text(planes.y) +
           " equal planes");
  check_axis("height", axis_of(window, 0), x.height / planes.x, y.height / planes.y);
  check_axis("width", axis_of(window, 1), x.width, y.width);
}

Range accepted_weights(const ConvSpec& spec) {
  const bool are_residues = spec.multipliers.is_modular() && spec.multipliers.bits <= spec.row->sums.bits;
  return spec.row->sums.group_overflow == Overflow::kWraps && are_residues ? kS8 : spec.row->w;
}

Schedule checked_schedule(const ConvSpec& spec, std::int64_t tiles, std::int64_t steps) {
  const Register& sums = spec.row->sums;
  const auto step_bytes = static_cast<std::size_t>(spec.row->tile_n) * static_cast<std::size_t>(sums.step);
  Schedule result;
  if (spec.segments.size() % 3) refuse("segments are not (tile, start, count)");
  std::size_t packed = 0;
  for (std::size_t at = 0; at < spec.segments.size(); at += 3) {
    const std::int32_t tile = spec.segments[at], start = spec.segments[at + 1], count = spec.segments[at + 2];
    const int last = static_cast<int>(result.tiles.size()) - 1;
    if (tile < 0 || (tile != last && tile != last + 1)) refuse("segments are not in the order of tiles");
    if (tile >= tiles) refuse("there are " + text(tiles) + " tiles; a segment is of tile " + text(tile));
    if (count < 1 || start < 0 || start > steps - count)
      refuse("segment [" + text(start) + ", +" + text(count) + ") leaves the " + text(steps) + " steps");
    if (sums.max_run > 1 && count > sums.max_run)
      refuse("a run of " + text(count) + " steps on a row of runs of at most " + text(sums.max_run));
    if (tile > last) result.tiles.push_back({packed, static_cast<int>(result.segments.size() / 2), 0});
    TileSchedule& current = result.tiles.back();
    const std::size_t size = result.segments.size();
    if (current.count && never_narrow(sums) && result.segments[size - 2] + result.segments[size - 1] == start) {
      result.segments[size - 1] += count;
    } else {
      result.segments.insert(result.segments.end(), {start, count});
      ++current.count;
    }
    packed += static_cast<std::size_t>(count) * step_bytes;
  }
  if (result.tiles.size() != static_cast<std::size_t>(tiles)) refuse("a tile has no segment");
  if (spec.packed.size() != packed)
    refuse("the segments need " + std::to_string(packed) + " bytes of weights; there are " +
           std::to_string(spec.packed.size()));
  std::int8_t least = 0, most = 0;
  for (std::int8_t weight : spec.packed) {
    least = std::min(least, weight);
    most = std::max(most, weight);
  }
  const Range accepted = accepted_weights(spec);
  if (least < accepted.lo || most > accepted.hi) refuse("a weight is outside what the row accepts");
  return result;
}

void order_runs(const Row& row, Schedule& schedule, std::span<std::int8_t> packed) {
  if (row.sums.max_run <= 1) return;
  const auto step_bytes = static_cast<std::size_t>(row.tile_n) * static_cast<std::size_t>(row.sums.step);
  std::vector<std::int32_t> segments;
  std::vector<std::int8_t> weights;
  for (const TileSchedule& tile : schedule.tiles) {
    std::int32_t* const of_tile = schedule.segments.data() + 2 * tile.first;
    segments.clear();
    weights.clear();
    for (std::int32_t steps = row.sums.max_run; steps > 0; --steps) {
      const std::int8_t* from = packed.data() + tile.packed;
      for (int i = 0; i < tile.count; ++i) {
        const std::int32_t start = of_tile[2 * i], count = of_tile[2 * i + 1];
        const std::int8_t* const end = from + static_cast<std::size_t>(count) * step_bytes;
        if (count == steps) {
          segments.insert(segments.end(), {start, count});
          weights.insert(weights.end(), from, end);
        }
        from = end;
      }
    }
    std::copy(segments.begin(), segments.end(), of_tile);
    std::copy(weights.begin(), weights.end(), packed.begin() + static_cast<std::ptrdiff_t>(tile.packed));
  }
}

void order_quads(const Row& row, std::span<std::int8_t> packed) {
  constexpr std::size_t kQuad = 4;
  const auto tile_n = static_cast<std::size_t>(row.tile_n), terms = static_cast<std::size_t>(row.sums.step);
  if (row.leaving.order != LaneOrder::kUnpacked128 || terms <= kQuad) return;
  std::vector<std::int8_t> step(tile_n * terms);
  for (std::size_t at = 0; at < packed.size(); at += step.size()) {
    std::copy_n(packed.begin() + static_cast<std::ptrdiff_t>(at), step.size(), step.begin());
    for (std::size_t n = 0; n < tile_n; ++n)
      for (std::size_t k = 0; k < terms; ++k)
        packed[at + (k / kQuad * tile_n + n) * kQuad + k % kQuad] = step[n * terms + k];
  }
}

std::vector<Reach> reaches(const ConvSpec& spec, const Schedule& schedule) {
  const auto tile_n = static_cast<std::size_t>(spec.row->tile_n), step = static_cast<std::size_t>(spec.row->sums.step);
  const Range x{kU8.lo - spec.row->x.shift, kU8.hi - spec.row->x.shift};
  std::vector<Reach> by_output(schedule.tiles.size() * tile_n, {0, 0});
  for (std::size_t tile = 0; tile < schedule.tiles.size(); ++tile) {
    const bool is_last = tile + 1 == schedule.tiles.size();
    const std::size_t end = is_last ? spec.packed.size() : schedule.tiles[tile + 1].packed;
    for (std::size_t at = schedule.tiles[tile].packed; at < end; at += tile_n * step)
      for (std::size_t n = 0; n < tile_n; ++n) {
        std::int32_t above = 0, below = 0;  // sums of the weights of one step: of the positive, of the negative
        for (std::size_t k = 0; k < step; ++k) {
          const std::int32_t w = spec.packed[at + n * step + k];
          above += std::max(w, 0);
          below += std::min(w, 0);
        }
        Reach& reach = by_output[tile * tile_n + n];  // a product is largest where x is at the end of w's sign
        reach.up += std::int64_t{above} * x.hi + std::int64_t{below} * x.lo;
        reach.down += std::int64_t{above} * x.lo + std::int64_t{below} * x.hi;
      }
  }
  return by_output;
}

}  // namespace oaq
