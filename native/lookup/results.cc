// Thresholds and tables of lookup/results.h, found once in integers; and the order in which a tile is summed and left.
#include "lookup/results.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/range.h"
#include "base/sizes.h"
#include "base/wrap.h"

namespace oaq {
namespace {

constexpr int kMostLevels = 15;
constexpr std::int64_t kMostWord = std::numeric_limits<std::uint16_t>::max();  // more than kMostRuns runs can leave
constexpr int kByte = 256;
constexpr float kFits = 0.5f;         // above it, s32 times a multiplier may leave s32
constexpr int kMostSignedRuns = 128;  // whose sums fit 16 bits with a sign
static_assert(kMostSignedRuns * (kByte - 1) < std::numeric_limits<std::int16_t>::max());
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
      words_bytes_(bytes_of({kLookupOutputs, loops.positions()})),
      kept_at_(2 * words_bytes_ + bytes_of({kLookupOutputs, loops.positions(), sizeof(std::int32_t)})),
      scratch_bytes_(kept_at_ + bytes_of({kKeptRuns, kLookupOutputs, loops.positions()})) {
  int most_runs = 0;
  for (const TileSchedule& tile : schedule.tiles) most_runs = std::max(most_runs, tile.count);
  if (spec.multipliers.is_modular()) {
    if (spec.multipliers.bits > 8) return;
    way_ = Way::kResidues;
    add_residues(spec);
  } else if (most_runs <= kMostRuns && spec.clamp.hi - spec.clamp.lo <= kMostLevels) {
    way_ = Way::kThresholds;
    add_thresholds(spec, schedule);
    if (most_runs <= kMostSignedRuns && add_levels()) way_ = Way::kLevels;
  } else if (most_runs <= kMostRuns) {
    way_ = requant_.is_below_one() && add_scales(spec) ? Way::kScales : Way::kWords;
  }
}

// Multipliers, if no s32 leaves s32 by them.
bool LookupResults::add_scales(const ConvSpec& spec) {
  for (std::size_t channel = 0; channel < bias_.size(); ++channel)
    scale_.push_back(spec.multipliers.scale[spec.multipliers.size() > 1 ? channel : 0]);
  for (float scale : scale_)
    if (!(scale < kFits)) return false;
  scale_.resize(scale_.size() + static_cast<std::size_t>(kLookupOutputs));
  return true;
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

// Thresholds as bytes, if they fit: a sum less one less than the lowest is at least 1 where that one is reached. None
// that no sum reaches is above what 16 bits with a sign hold.
bool LookupResults::add_levels() {
  const auto levels = static_cast<std::size_t>(levels_);
  std::vector<std::uint16_t> below;
  std::vector<std::uint8_t> bytes;
  const auto most = static_cast<std::uint16_t>(std::numeric_limits<std::int16_t>::max());
  for (std::size_t channel = 0; channel < bias_.size(); ++channel) {
    const int lowest = levels ? std::min(thresholds_[channel * levels], most) : 0;
    below.push_back(static_cast<std::uint16_t>(lowest - 1));
    for (std::size_t level = 0; level < levels; ++level) {
      const int threshold = std::min(thresholds_[channel * levels + level], most) - lowest + 1;
      if (threshold >= kByte) return false;
      bytes.push_back(static_cast<std::uint8_t>(threshold));
    }
  }
  below.resize(below.size() + static_cast<std::size_t>(kLookupOutputs));
  bytes.resize(bytes.size() + static_cast<std::size_t>(kLookupOutputs) * levels);
  below_ = std::move(below);
  bytes_ = std::move(bytes);
  return true;
}

void LookupResults::leave(const Tile& tile, const std::uint8_t* index, std::int64_t positions, std::uint8_t* results,
                          std::int64_t pitch, std::uint8_t* scratch) const {
  const auto each_group = [&](auto body) {
    for (std::int64_t at = 0; at < positions; at += loops_.positions())
      body(at, static_cast<int>(divided_up(std::min(loops_.positions(), positions - at), loops_.width)));
  };
  if (way_ == Way::kWide)
    return each_group(
        [&](std::int64_t at, int vectors) { leave_wide(tile, index + at, vectors, results + at, pitch, scratch); });
  LookupCall call = call_of(tile, index, scratch);
  LookupLevels levels;
  LookupScales scales;
  std::array<std::int32_t, static_cast<std::size_t>(kLookupOutputs)> add{};
  if (way_ == Way::kLevels) {
    const std::size_t first = tile.channel * static_cast<std::size_t>(levels_);
    levels = {below_.data() + tile.channel, bytes_.data() + first, levels_, static_cast<std::uint8_t>(lo_)};
    call.levels = &levels;
  } else if (way_ == Way::kScales) {
    for (std::int64_t n = 0; n < tile.columns; ++n) add[static_cast<std::size_t>(n)] = add_of(tile, n);
    scales = {scale_.data() + tile.channel, add.data(), requant_.numbers(tile.channel)};
    call.scales = &scales;
  }
  const bool leaves_words = way_ == Way::kThresholds || way_ == Way::kWords;
  const bool leaves_results = way_ == Way::kLevels || way_ == Way::kScales;
  each_group([&](std::int64_t at, int vectors) {
    call.index = index + at;
    if (!leaves_words) call.results = results + at, call.pitch = pitch;
    loops_.sum(call, vectors);
    if (!leaves_results) leave_each(tile, call, vectors, results + at, pitch);
  });
}

// What an output's words are added to.
std::int32_t LookupResults::add_of(const Tile& tile, std::int64_t n) const {
  return wrapping_sum(bias_[tile.channel + static_cast<std::size_t>(n)], -kRunStart * tile.runs);
}

// Of outputs one after another, what a call has summed.
void LookupResults::leave_each(const Tile& tile, const LookupCall& call, int vectors, std::uint8_t* results,
                               std::int64_t pitch) const {
  const std::int64_t positions = std::int64_t{vectors} * loops_.width, half = loops_.positions() / 2;
  for (std::int64_t n = 0; n < tile.columns; ++n, results += pitch) {
    const std::size_t channel = tile.channel + static_cast<std::size_t>(n);
    const LookupSums sums{call.words + n * half, call.uppers + n * half, positions};
    if (way_ == Way::kResidues)
      loops_.look_up(residues_.data() + channel * kByte, positions, results);
    else if (way_ == Way::kThresholds)
      loops_.count(sums, thresholds_.data() + channel * static_cast<std::size_t>(levels_), levels_,
                   static_cast<std::uint8_t>(lo_), results);
    else
      loops_.requantize(sums, requant_.numbers(channel), add_of(tile, n), results);
  }
}

LookupCall LookupResults::call_of(const Tile& tile, const std::uint8_t* index, std::uint8_t* scratch) const {
  LookupCall call{};
  call.index = index;
  call.stretches = tile.stretches.data();
  call.stretch_count = static_cast<std::int64_t>(tile.stretches.size());
  call.tables = tile.tables.tables;
  call.places = tile.tables.places;
  call.stays_in_bytes = tile.tables.stays_in_bytes;
  call.kept = scratch + kept_at_;
  call.words = reinterpret_cast<std::uint16_t*>(scratch);
  call.uppers = reinterpret_cast<std::uint16_t*>(scratch + words_bytes_);
  return call;
}

// Runs whose sums fit 16 bits at a time.
void LookupResults::leave_wide(const Tile& tile, const std::uint8_t* index, int vectors, std::uint8_t* results,
                               std::int64_t pitch, std::uint8_t* scratch) const {
  LookupCall call = call_of(tile, index, scratch);
  auto* sums = reinterpret_cast<std::int32_t*>(scratch + 2 * words_bytes_);
  const std::int64_t positions = std::int64_t{vectors} * loops_.width, half = loops_.positions() / 2;
  const auto sums_of = [&](std::int64_t n) { return sums + n * loops_.positions(); };
  const LookupStretch* const end = tile.stretches.data() + tile.stretches.size();
  for (bool more = false; call.stretches != end; more = true) {
    std::int64_t steps = 0, runs = 0;
    call.stretch_count = 0;
    for (const LookupStretch* at = call.stretches; at != end && runs < kMostRuns; ++at, ++call.stretch_count) {
      steps += at->steps;
      runs += at->ends_run;
    }
    loops_.sum(call, vectors);
    const auto start = static_cast<std::int32_t>(kRunStart * runs);
    for (std::int64_t n = 0; n < tile.columns; ++n) {
      const std::int32_t bias = more ? 0 : bias_[tile.channel + static_cast<std::size_t>(n)];
      loops_.widen({call.words + n * half, call.uppers + n * half, positions}, wrapping_sum(bias, -start), more,
                   sums_of(n));
    }
    call.stretches += call.stretch_count;
    if (call.places)
      call.places += steps * kLookupOutputs;
    else
      call.tables += steps * kLookupOutputs * loops_.entries;
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
