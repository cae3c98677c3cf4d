// The readers of plan/read.h: each takes its bytes only after it has compared their number with what remains.
#include "plan/read.h"

#include "base/aligned.h"

namespace oaq {
namespace {

// How many bytes continue a character that starts with this one; -1: none starts so.
int continuation_bytes(std::uint8_t first) {
  if (first >= 0x01 && first <= 0x7F) return 0;
  if (first >= 0xC2 && first <= 0xDF) return 1;
  if (first >= 0xE0 && first <= 0xEF) return 2;
  return first >= 0xF0 && first <= 0xF4 ? 3 : -1;
}

// Whether these bytes are UTF-8 without zeros: neither longer forms than needed, nor surrogates, nor past U+10FFFF.
bool is_text(std::span<const std::uint8_t> bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const std::uint8_t first = bytes[at];
    const int more = continuation_bytes(first);
    if (more < 0 || static_cast<std::size_t>(more) >= bytes.size() - at) return false;
    for (int i = 1; i <= more; ++i) {
      const std::uint8_t next = bytes[++at];
      if (next < 0x80 || next > 0xBF) return false;
      const bool is_outside = (first == 0xE0 && next < 0xA0) || (first == 0xED && next > 0x9F) ||
                              (first == 0xF0 && next < 0x90) || (first == 0xF4 && next > 0x8F);
      if (i == 1 && is_outside) return false;
    }
  }
  return true;
}

}  // namespace

void Budget::take(std::size_t bytes, std::string_view purpose) {
  if (bytes > limit_ - taken_)
    throw MemoryExceeded(std::string(purpose) + " needs " + std::to_string(bytes) + " bytes beside " +
                         std::to_string(taken_) + " others, more than the limit of " + std::to_string(limit_));
  taken_ += bytes;
}

std::span<const std::uint8_t> Arrays::at(std::uint64_t offset, std::uint64_t bytes) {
  if (offset % kLine) throw PlanError("an array at byte " + std::to_string(offset) + " is not on a multiple of 64");
  if (offset < end_ || offset > plan_.size() || bytes > plan_.size() - offset)
    throw PlanError("an array of " + std::to_string(bytes) + " bytes at byte " + std::to_string(offset) +
                    " is not between the last array and the end of the plan at " + std::to_string(plan_.size()));
  end_ = static_cast<std::size_t>(offset + bytes);
  return plan_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
}

Arrays::Weights Arrays::weights_at(std::uint64_t offset, std::uint64_t bytes) {
  const auto earlier = weights_.find(offset);
  if (earlier != weights_.end() && earlier->second == bytes)  // inside the plan, as they were
    return {plan_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes)), true};
  const std::span<const std::uint8_t> result = at(offset, bytes);
  weights_.emplace(offset, bytes);
  return {result, false};
}

std::span<const std::uint8_t> Cursor::take(std::size_t bytes) {
  if (bytes > bytes_.size())
    throw PlanError(std::to_string(bytes) + " bytes are to be read where " + std::to_string(bytes_.size()) +
                    " are left");
  const std::span<const std::uint8_t> result = bytes_.first(bytes);
  bytes_ = bytes_.subspan(bytes);
  return result;
}

std::string_view Cursor::text() {
  const std::size_t length = u32();
  const std::span<const std::uint8_t> letters = take(length);
  for (const std::uint8_t filler : take((4 - length % 4) % 4))
    if (filler) throw PlanError("a name is not filled up with zeros");
  if (!is_text(letters)) throw PlanError("a name is not UTF-8");
  return {reinterpret_cast<const char*>(letters.data()), letters.size()};
}

std::span<const std::uint8_t> Cursor::array() {
  const std::uint64_t offset = u64(), bytes = u64();
  return arrays_->at(offset, bytes);
}

Arrays::Weights Cursor::weights() {
  const std::uint64_t offset = u64(), bytes = u64();
  return arrays_->weights_at(offset, bytes);
}

Multipliers Cursor::multipliers() {
  const std::uint32_t kind = u32();
  if (kind > 3)
    throw PlanError("multipliers of kind " + std::to_string(kind) +
                    "; 0 is float, 1 and 2 are fixed-point, 3 is tables of residues");
  Multipliers result;
  if (kind == 3) {
    result.bits = i32();
    if (result.bits < kFewestModularBits || result.bits > kMostModularBits)
      throw PlanError("sums modulo 2^" + std::to_string(result.bits) + "; it takes 2 to 16 bits");
    result.table = numbers<std::uint8_t>();
  } else if (kind == 0) {
    result.scale = numbers<float>();
  } else {
    result.multiplier = numbers<std::int32_t>();
    result.shift = numbers<std::int32_t>();
  }
  if (kind == 2) {
    result.then = numbers<std::int32_t>();
    if (result.then.size() != result.shift.size()) throw PlanError("shifts and second roundings differ in number");
  }
  if (!result.size()) throw PlanError("there are no multipliers");
  return result;
}

Clamp Cursor::clamp() {
  const auto [lo, hi] = ints<2>();
  return {lo, hi};
}

Window Cursor::window() {
  const auto kernel = ints<2>(), stride = ints<2>();
  const auto padding = ints<4>();
  const auto dilation = ints<2>();
  return {{kernel[0], kernel[1]},
          {stride[0], stride[1]},
          {padding[0], padding[1], padding[2], padding[3]},
          {dilation[0], dilation[1]}};
}

Planes Cursor::planes() {
  const auto numbers = ints<7>();
  const Planes planes{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]};
  if (planes.x < 1 || planes.y < 1) throw PlanError("a volume has no planes");
  return planes;
}

Output Cursor::output() {
  Output result = output_of_products();
  if (result.multipliers.is_modular()) throw PlanError("only sums of products have tables of residues");
  return result;
}

Output Cursor::output_of_products() {
  Multipliers by = multipliers();
  const int zero_point = i32();
  return {std::move(by), zero_point, clamp()};
}

const Place& StepRecord::input() const {
  require_inputs(1);
  return x.front();
}

void StepRecord::require_inputs(std::size_t count) const {
  if (x.size() != count)
    throw PlanError(std::to_string(x.size()) + " inputs, where " + std::to_string(count) + " are needed");
}

}  // namespace oaq
