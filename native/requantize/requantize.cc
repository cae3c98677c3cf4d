// A requantization as a program says it, checked, and laid out for loops (requantize/loops.h). Nothing is computed.
#include "requantize/requantize.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace oaq {
namespace {

constexpr std::int32_t kMostThen = 31;
constexpr std::size_t kRoom = 64;  // the widest tile

template <typename T>
std::vector<T> spread(const std::vector<T>& values, std::size_t count, T filler) {
  std::vector<T> result(values);
  if (result.size() == 1) result.resize(count, values.front());
  result.resize(count + kRoom, filler);
  return result;
}

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

}  // namespace

void check_zero_point(int zero_point) {
  if (zero_point < 0 || zero_point > 255) refuse("zero point " + std::to_string(zero_point) + " is outside [0, 255]");
}

void check_output(int zero_point, Clamp clamp) {
  check_zero_point(zero_point);
  if (clamp.lo < 0 || clamp.hi > 255 || clamp.lo > clamp.hi)
    refuse("clamp [" + std::to_string(clamp.lo) + ", " + std::to_string(clamp.hi) + "] is not a range in [0, 255]");
}

void check_multipliers(const Multipliers& multipliers, std::size_t count) {
  const std::size_t size = multipliers.size();
  if (size != count && size != 1)
    refuse(std::to_string(size) + " multipliers for " + std::to_string(count) + " channels");
  if (multipliers.is_modular()) {
    if (multipliers.bits < kFewestModularBits || multipliers.bits > kMostModularBits)
      refuse("sums count modulo 2^" + std::to_string(multipliers.bits) + "; it takes 2 to 16 bits");
    if (multipliers.table.size() != size << multipliers.bits)
      refuse("tables of " + std::to_string(multipliers.table.size()) + " bytes end in the middle of one");
    return;
  }
  for (float scale : multipliers.scale)
    if (!std::isfinite(scale) || scale <= 0.0f) refuse("a multiplier is not finite and positive");
  if (!multipliers.is_fixed()) return;
  if (multipliers.shift.size() != multipliers.multiplier.size()) refuse("multipliers and shifts differ in number");
  for (std::int32_t multiplier : multipliers.multiplier)
    if (multiplier <= 0) refuse("fixed-point multiplier " + std::to_string(multiplier) + " is not positive");
  for (std::int32_t shift : multipliers.shift)
    if (shift < 1 || shift > 62) refuse("shift " + std::to_string(shift) + " is outside [1, 62]");
  if (!multipliers.then.empty() && multipliers.then.size() != multipliers.shift.size())
    refuse("shifts and second roundings differ in number");
  for (std::int32_t bits : multipliers.then)
    if (bits < 0 || bits > kMostThen)
      refuse("a second rounding of " + std::to_string(bits) + " bits is outside [0, 31]");
}

Requant::Requant(const Multipliers& multipliers, std::size_t count, int zero_point, Clamp clamp)
    : zero_(zero_point),
      clamp_(clamp),
      below_one_(
          !multipliers.is_fixed() && !multipliers.is_modular() &&
          std::all_of(multipliers.scale.begin(), multipliers.scale.end(), [](float scale) { return scale < 1.0f; })) {
  check_multipliers(multipliers, count);
  check_output(zero_point, clamp);
  if (multipliers.is_modular()) {
    const std::size_t entries = std::size_t{1} << multipliers.bits;
    table_ = multipliers.table;
    residues_ = {table_.data(), multipliers.size() == 1 ? 0 : entries, static_cast<std::uint32_t>(entries - 1)};
    scale_ = spread(std::vector<float>{1.0f}, count, 1.0f);  // loops that read ahead find numbers
  } else if (multipliers.is_fixed()) {
    multiplier_ = spread(multipliers.multiplier, count, 1);
    shift_ = spread(multipliers.shift, count, 1);
    if (!multipliers.then.empty()) then_ = spread(multipliers.then, count, 0);
    fits_ =
        std::all_of(multipliers.shift.begin(), multipliers.shift.end(), [](std::int32_t bits) { return bits >= 31; });
  } else {
    scale_ = spread(multipliers.scale, count, 1.0f);
  }
}

FloatRequant Requant::from(std::size_t channel) const {
  return {scale_.data() + channel,
          static_cast<float>(clamp_.hi - zero_),
          static_cast<float>(clamp_.lo - zero_),
          zero_,
          static_cast<std::uint8_t>(clamp_.lo),
          static_cast<std::uint8_t>(clamp_.hi)};
}

RequantNumbers Requant::numbers(std::size_t channel) const {
  const auto at = [&](const auto& values) { return values.empty() ? nullptr : values.data() + channel; };
  return {at(scale_), at(multiplier_), at(shift_), at(then_), zero_, clamp_.lo, clamp_.hi, fits_};
}

void Requant::leave(Isa isa, std::size_t channel, const SumRows& sums, std::uint8_t* y, std::int64_t y_stride) const {
  if (!is_modular()) return requant_loops(isa).each(numbers(channel), sums, y, y_stride);
  look_up({residues_.table + channel * residues_.stride, residues_.stride, residues_.mask}, sums, y, y_stride);
}

}  // namespace oaq
