// Which tables there are, and where. They are built by the loops of a row: sums of multiples of operands.
#include "lookup/tables.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::size_t kMostTables = 512 * 1024;  // bytes that are kept

}  // namespace

int operand_bits(const Row& row) {
  int bits = 1;
  while (row.x.range.hi >> bits) ++bits;
  return bits;
}

LookupTables::LookupTables(const ConvSpec& spec, const LookupLoops& loops, const Schedule& schedule)
    : loops_(loops), operands_(spec.row->sums.step), weights_(spec.row->w) {
  const std::size_t of_step = static_cast<std::size_t>(kLookupOutputs * operands_);
  for (const TileSchedule& tile : schedule.tiles) first_.push_back(tile.packed / of_step);
  first_.push_back(spec.packed.size() / of_step);
  const int bits = operand_bits(*spec.row), mask = (1 << bits) - 1;
  for (int operand = 0; operand < operands_; ++operand)
    for (int w = weights_.lo; w <= weights_.hi; ++w)
      for (int index = 0; index < loops_.entries; ++index)
        multiples_.push_back(static_cast<std::uint8_t>(w * (index >> (bits * operand) & mask)));
  is_kept_ = find_choices(spec);
  if (is_kept_) {
    AlignedVector<std::uint8_t>().swap(multiples_);
  } else {
    std::size_t most = 0;
    for (std::size_t tile = 0; tile + 1 < first_.size(); ++tile) most = std::max(most, first_[tile + 1] - first_[tile]);
    places_.clear();
    for (std::size_t i = 0; i < most * static_cast<std::size_t>(kLookupOutputs); ++i)
      places_.push_back(static_cast<std::uint32_t>(i * static_cast<std::size_t>(loops_.entries)));
    hold(spec.packed.data(), spec.packed.size());
  }
  places_at_ = held_.size();
  places_count_ = places_.size();
  hold(places_.data(), places_.size() * sizeof(std::uint32_t));
  std::vector<std::uint32_t>().swap(places_);
  begin_ = held_.data();
  bytes_ = held_.size();
}

// Appends to what is held, from a multiple of a cache line on.
void LookupTables::hold(const void* values, std::size_t bytes) {
  const std::size_t at = held_.size();
  held_.resize(at + (bytes + kLine - 1) / kLine * kLine, 0);
  std::memcpy(held_.data() + at, values, bytes);
}

// Makes a table of every choice of weights; false if they are too many.
bool LookupTables::find_choices(const ConvSpec& spec) {
  const auto operands = static_cast<std::size_t>(operands_), entries = static_cast<std::size_t>(loops_.entries);
  const std::string_view weights(reinterpret_cast<const char*>(spec.packed.data()), spec.packed.size());
  std::unordered_map<std::string_view, std::uint32_t> place_of;
  std::vector<std::int8_t> choices;
  for (std::size_t at = 0; at < weights.size(); at += operands) {
    const auto next = static_cast<std::uint32_t>(place_of.size() * entries);
    const auto [place, is_new] = place_of.emplace(weights.substr(at, operands), next);
    places_.push_back(place->second);
    if (!is_new) continue;
    if (next + entries > kMostTables) return false;
    choices.insert(choices.end(), spec.packed.begin() + static_cast<std::ptrdiff_t>(at),
                   spec.packed.begin() + static_cast<std::ptrdiff_t>(at + operands));
  }
  const std::int64_t steps = divided_up(static_cast<std::int64_t>(place_of.size()), kLookupOutputs);
  choices.resize(static_cast<std::size_t>(steps * kLookupOutputs) * operands, 0);
  AlignedVector<std::uint8_t> tables(static_cast<std::size_t>(steps * kLookupOutputs) * entries);
  loops_.build({multiples_.data(), choices.data(), steps, operands_, weights_, tables.data()});
  hold(tables.data(), tables.size());
  return true;
}

void LookupTables::move(std::uint8_t* to) {
  std::memcpy(to, held_.data(), held_.size());
  begin_ = to;
  AlignedVector<std::uint8_t>().swap(held_);  // assigned an empty one, it would keep its memory
}

std::size_t LookupTables::scratch_bytes() const {
  return is_kept_ ? 0 : bytes_of({static_cast<std::int64_t>(places_count_), loops_.entries});
}

LookupTables::Tile LookupTables::at(std::size_t tile, std::uint8_t* scratch) const {
  const auto outputs = static_cast<std::size_t>(kLookupOutputs), operands = static_cast<std::size_t>(operands_);
  const auto* places = reinterpret_cast<const std::uint32_t*>(begin_ + places_at_);
  if (is_kept_) return {begin_, places + first_[tile] * outputs};
  const auto* packed = reinterpret_cast<const std::int8_t*>(begin_);
  loops_.build({multiples_.data(), packed + first_[tile] * outputs * operands,
                static_cast<std::int64_t>(first_[tile + 1] - first_[tile]), operands_, weights_, scratch});
  return {scratch, places};
}

}  // namespace oaq
