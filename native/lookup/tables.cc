// Which tables there are, and where. They are built by the loops of a row: sums of multiples of operands.
#include "lookup/tables.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::size_t kMostTables = 512 * 1024;  // bytes that are kept
constexpr std::size_t kMostLaid = 400 * 1024;    // bytes that are kept in the order of execution, of tables that
constexpr int kLaidEntries = 16;                 // are as short: those of a step's outputs are one cache line
static_assert(kMostTables / kPlaceUnit <= std::size_t{std::numeric_limits<std::uint16_t>::max()} + 1);

}  // namespace

int operand_bits(const Row& row) {
  int bits = 1;
  while (row.x.range.hi >> bits) ++bits;
  return bits;
}

LookupTables::LookupTables(const ConvSpec& spec, const LookupLoops& loops, const Schedule& schedule)
    : loops_(loops), operands_(spec.row->sums.step), weights_(accepted_weights(spec)) {
  const std::size_t of_step = static_cast<std::size_t>(kLookupOutputs * operands_);
  for (const TileSchedule& tile : schedule.tiles) first_.push_back(tile.packed / of_step);
  first_.push_back(spec.packed.size() / of_step);
  const int bits = operand_bits(*spec.row), mask = (1 << bits) - 1;
  for (int operand = 0; operand < operands_; ++operand)
    for (int w = weights_.lo; w <= weights_.hi; ++w)
      for (int index = 0; index < loops_.entries; ++index)
        multiples_.push_back(static_cast<std::uint8_t>(w * (index >> (bits * operand) & mask)));
  for (std::size_t tile = 0; tile + 1 < first_.size(); ++tile)
    most_steps_ = std::max(most_steps_, first_[tile + 1] - first_[tile]);
  find_wrapping(spec, schedule);
  are_laid_ = loops.entries <= kLaidEntries &&
              bytes_of({static_cast<std::int64_t>(first_.back()), kLookupOutputs, loops.entries}) <= kMostLaid;
  is_kept_ = are_laid_ || find_choices(spec);
  if (are_laid_) lay(spec);
  if (is_kept_)
    AlignedVector<std::uint8_t>().swap(multiples_);
  else
    hold(spec.packed.data(), spec.packed.size());
  begin_ = held_.data();
  bytes_ = held_.size();
}

// In which tiles no index whatever takes a sum out of its byte, not even on the way: an index holds operands of the
// row's range, which has 0 in it, so that the sums of all positive and of all negative weights of a run bound it. Sums
// modulo 2^8 are not spilled: the byte goes on from run to run.
void LookupTables::find_wrapping(const ConvSpec& spec, const Schedule& schedule) {
  const auto outputs = static_cast<std::size_t>(kLookupOutputs), operands = static_cast<std::size_t>(operands_);
  const int most = (1 << operand_bits(*spec.row)) - 1;
  const bool goes_on = spec.multipliers.is_modular();
  const std::int8_t* w = spec.packed.data();
  for (const TileSchedule& tile : schedule.tiles) {
    bool stays = true;
    std::int64_t above[kLookupOutputs] = {}, below[kLookupOutputs] = {};
    for (int run = tile.first; run < tile.first + tile.count; ++run) {
      if (!goes_on) std::fill_n(above, outputs, 0), std::fill_n(below, outputs, 0);
      for (std::int32_t step = schedule.segments[2 * static_cast<std::size_t>(run) + 1]; step > 0; --step)
        for (std::size_t n = 0; n < outputs; ++n)
          for (std::size_t i = 0; i < operands; ++i, ++w) (*w > 0 ? above : below)[n] += *w * most;
      for (std::size_t n = 0; n < outputs; ++n) stays = stays && above[n] <= kS8.hi && below[n] >= kS8.lo;
    }
    stays_in_bytes_.push_back(stays);
  }
}

// Appends to what is held, from a multiple of a cache line on.
void LookupTables::hold(const void* values, std::size_t bytes) {
  const std::size_t at = held_.size();
  held_.resize(at + (bytes + kLine - 1) / kLine * kLine, 0);
  std::memcpy(held_.data() + at, values, bytes);
}

// Makes the table of every step of every output, in the order of execution.
void LookupTables::lay(const ConvSpec& spec) {
  AlignedVector<std::uint8_t> tables(first_.back() * static_cast<std::size_t>(kLookupOutputs * loops_.entries));
  loops_.build({multiples_.data(), spec.packed.data(), static_cast<std::int64_t>(first_.back()), operands_, weights_,
                tables.data()});
  hold(tables.data(), tables.size());
}

// Makes a table of every choice of weights; false if they are too many.
bool LookupTables::find_choices(const ConvSpec& spec) {
  const auto operands = static_cast<std::size_t>(operands_), entries = static_cast<std::size_t>(loops_.entries);
  const std::string_view weights(reinterpret_cast<const char*>(spec.packed.data()), spec.packed.size());
  std::unordered_map<std::string_view, std::uint32_t> place_of;
  std::vector<std::int8_t> choices;
  std::vector<std::uint16_t> places;
  for (std::size_t at = 0; at < weights.size(); at += operands) {
    const auto next = static_cast<std::uint32_t>(place_of.size() * entries);
    const auto [place, is_new] = place_of.emplace(weights.substr(at, operands), next);
    places.push_back(static_cast<std::uint16_t>(place->second / kPlaceUnit));
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
  places_at_ = held_.size();
  hold(places.data(), places.size() * sizeof(std::uint16_t));
  return true;
}

void LookupTables::move(std::uint8_t* to) {
  std::memcpy(to, held_.data(), held_.size());
  begin_ = to;
  AlignedVector<std::uint8_t>().swap(held_);  // assigned an empty one, it would keep its memory
}

std::size_t LookupTables::scratch_bytes() const {
  return is_kept_ ? 0 : bytes_of({static_cast<std::int64_t>(most_steps_), kLookupOutputs, loops_.entries});
}

LookupTables::Tile LookupTables::at(std::size_t tile, std::uint8_t* scratch) const {
  const auto outputs = static_cast<std::size_t>(kLookupOutputs), operands = static_cast<std::size_t>(operands_);
  if (are_laid_)
    return {begin_ + first_[tile] * outputs * static_cast<std::size_t>(loops_.entries), nullptr, stays_in_bytes_[tile]};
  if (is_kept_) {
    const auto* places = reinterpret_cast<const std::uint16_t*>(begin_ + places_at_);
    return {begin_, places + first_[tile] * outputs, stays_in_bytes_[tile]};
  }
  const auto* packed = reinterpret_cast<const std::int8_t*>(begin_);
  loops_.build({multiples_.data(), packed + first_[tile] * outputs * operands,
                static_cast<std::int64_t>(first_[tile + 1] - first_[tile]), operands_, weights_, scratch});
  return {scratch, nullptr, stays_in_bytes_[tile]};
}

}  // namespace oaq
