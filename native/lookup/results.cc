// Thresholds and tables of lookup/results.h, found once in integers; and the order in which a tile is summed and left.
#include "lookup/results.h"

#include <algorithm>
#include <limits>

#include "base/range.h"
#include "base/sizes.h"
#include "base/wrap.h"

namespace oaq {
namespace {

constexpr int kMostLevels = 15;
constexpr std::int64_t kMostWord = std::numeric_limits<std::uint16_t>::max();  // more than kMostRuns runs can leave
constexpr int kByte = 256;
static_assert(kMostRuns * (kByte - 1) < kMostWord);

// Least s32 sum whose result is at least `value`; 2^31 if there is none. Results never fall where sums rise.
std::int64_t least_sum(const Requant& requant, std::size_t channel, int value) {
  std::int64_t below = smallest(32) - 1, reached = largest(32) + 1;
  while (reached - below > 1) {
    const std::int64_t sum = below + (reached - below) / 2;
    (requant.apply(static_cast<std::int32_t>(sum), channel) >= value ? reached : below) = sum;
  }
  return reached;
}

}  // namespace

LookupResults::LookupResults(const ConvSpec& spec, const LookupLoops& loops, const Schedule& schedule)
    : loops_(loops),
      isa_(spec.row->isa),
      requant_(spec.multipliers, static_cast<std::size_t>(spec.y.channels), spec.y_zero_point, spec.clamp),
      bias_(spec.bias),
      lo_(spec.clamp.lo),
      has_residues_(spec.multipliers.is_modular() && spec.multipliers.bits <= 8),
      has_thresholds_(!spec.multipliers.is_modular() && spec.clamp.hi - spec.clamp.lo <= kMostLevels),
      words_bytes_(bytes_of({kLookupOutputs, loops.positions()})),
      scratch_bytes_(2 * words_bytes_ + bytes_of({kLookupOutputs, loops.positions(), sizeof(std::int32_t)})) {
  for (const TileSchedule& tile : schedule.tiles) has_thresholds_ = has_thresholds_ && tile.count <= kMostRuns;
  if (has_residues_) add_residues(spec);
  if (has_thresholds_) add_thresholds(spec, schedule);
}

void LookupResults::add_residues(const ConvSpec& spec) {
  const std::size_t entries = std::size_t{1} << spec.multipliers.bits;
  const std::uint8_t* table = spec.multipliers.table.data();
  for (std::size_t channel = 0; channel < bias_.size(); ++channel) {
    for (std::uint32_t sum = 0; sum < kByte; ++sum)
      residues_.push_back(table[(sum + static_cast<std::uint32_t>(bias_[channel])) & (entries - 1)]);
    if (spec.multipliers.size() > 1) table += entries;
  }
}

void LookupResults::add_thresholds(const ConvSpec& spec, const Schedule& schedule) {
  levels_ = spec.clamp.hi - spec.clamp.lo;
  const std::size_t outputs = bias_.size() / static_cast<std::size_t>(spec.groups);
  const std::size_t group_tiles = schedule.tiles.size() / static_cast<std::size_t>(spec.groups);
  for (std::size_t channel = 0; channel < bias_.size(); ++channel) {
    const std::size_t tile = channel / outputs * group_tiles + channel % outputs / kLookupOutputs;
    const std::int64_t start = kRunStart * std::int64_t{schedule.tiles[tile].count} - bias_[channel];
    for (int level = 1; level <= levels_; ++level) {
      const std::int64_t word = least_sum(requant_, channel, lo_ + level) + start;
      thresholds_.push_back(static_cast<std::uint16_t>(std::clamp<std::int64_t>(word, 0, kMostWord)));
    }
  }
}

void LookupResults::leave(const Tile& tile, const Index& index, int vectors, std::uint8_t* results, std::int64_t pitch,
                          std::uint8_t* scratch) const {
  LookupCall call{};
  call.index = index.first;
  call.index_at = index.at;
  call.tables = tile.tables;
  call.places = tile.places;
  call.runs = tile.runs.data();
  call.run_count = static_cast<std::int64_t>(tile.runs.size());
  const std::int64_t positions = std::int64_t{vectors} * loops_.width;
  if (has_residues_) {
    call.bytes = results;
    call.bytes_pitch = pitch;
    loops_.sum(call, vectors);
    for (std::int64_t n = 0; n < tile.columns; ++n)
      loops_.look_up(residues_.data() + (tile.channel + static_cast<std::size_t>(n)) * kByte, positions,
                     results + n * pitch);
    return;
  }
  if (!has_thresholds_) return leave_wide(tile, index, vectors, results, pitch, scratch);
  call.words = reinterpret_cast<std::uint16_t*>(scratch);
  call.uppers = reinterpret_cast<std::uint16_t*>(scratch + words_bytes_);
  loops_.sum(call, vectors);
  for (std::int64_t n = 0; n < tile.columns; ++n) {
    const std::size_t channel = tile.channel + static_cast<std::size_t>(n);
    loops_.count({call.words + n * loops_.positions() / 2, call.uppers + n * loops_.positions() / 2, positions},
                 thresholds_.data() + channel * static_cast<std::size_t>(levels_), levels_,
                 static_cast<std::uint8_t>(lo_), results + n * pitch);
  }
}

// Runs whose sums fit 16 bits at a time.
void LookupResults::leave_wide(const Tile& tile, const Index& index, int vectors, std::uint8_t* results,
                               std::int64_t pitch, std::uint8_t* scratch) const {
  LookupCall call{};
  call.index = index.first;
  call.index_at = index.at;
  call.tables = tile.tables;
  call.places = tile.places;
  call.words = reinterpret_cast<std::uint16_t*>(scratch);
  call.uppers = reinterpret_cast<std::uint16_t*>(scratch + words_bytes_);
  auto* sums = reinterpret_cast<std::int32_t*>(scratch + 2 * words_bytes_);
  const std::int64_t positions = std::int64_t{vectors} * loops_.width, half = loops_.positions() / 2;
  const auto sums_of = [&](std::int64_t n) { return sums + n * loops_.positions(); };
  const auto runs = static_cast<std::int64_t>(tile.runs.size());
  for (std::int64_t first = 0; first < runs; first += kMostRuns) {
    call.runs = tile.runs.data() + first;
    call.run_count = std::min(kMostRuns, runs - first);
    loops_.sum(call, vectors);
    const auto start = static_cast<std::int32_t>(kRunStart * call.run_count);
    for (std::int64_t n = 0; n < tile.columns; ++n) {
      const std::int32_t bias = first ? 0 : bias_[tile.channel + static_cast<std::size_t>(n)];
      loops_.widen({call.words + n * half, call.uppers + n * half, positions}, wrapping_sum(bias, -start), first > 0,
                   sums_of(n));
    }
    for (std::int64_t run = 0; run < call.run_count; ++run) call.places += call.runs[run].count * kLookupOutputs;
  }
  for (std::int64_t n = 0; n < tile.columns; ++n) {
    const std::size_t channel = tile.channel + static_cast<std::size_t>(n);
    if (requant_.is_modular())
      requant_.leave(isa_, channel, {sums_of(n), 1, positions, 1}, results + n * pitch, 1);
    else
      requant_loops(isa_).all(requant_.numbers(channel), sums_of(n), static_cast<std::size_t>(positions),
                              results + n * pitch);
  }
}

}  // namespace oaq
