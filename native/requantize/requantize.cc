// Requantization by scalar code, which is also what every vector way is compared with.
//
//   float32_half_even   float32(sum) * scale, one rounding each, clamped as floats, then rounded half to even
//   fixed point         (sum * multiplier + 2^(shift - 1)) >> shift in s64   **exact**: below 2^62 + 2^61
//   ... then            that / 2^then, halves away from 0, in s64   **exact**: below 2^62 + 2^30
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

// x / 2^times, halves away from 0; |x| < 2^62.
std::int64_t halved_away(std::int64_t x, std::int32_t times) {
  const std::int64_t half = (std::int64_t{1} << times) >> 1;
  const std::int64_t magnitude = ((x < 0 ? -x : x) + half) >> times;
  return x < 0 ? -magnitude : magnitude;
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
      below_one_(!multipliers.is_fixed() && std::all_of(multipliers.scale.begin(), multipliers.scale.end(),
                                                        [](float scale) { return scale < 1.0f; })) {
  check_multipliers(multipliers, count);
  check_output(zero_point, clamp);
  if (multipliers.is_fixed()) {
    multiplier_ = spread(multipliers.multiplier, count, 1);
    shift_ = spread(multipliers.shift, count, 1);
    if (!multipliers.then.empty()) then_ = spread(multipliers.then, count, 0);
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

std::uint8_t Requant::apply(std::int32_t sum, std::size_t channel) const {
  if (is_fixed()) {
    const std::int64_t half = std::int64_t{1} << (shift_[channel] - 1);
    std::int64_t rounded = (std::int64_t{sum} * multiplier_[channel] + half) >> shift_[channel];
    if (!then_.empty()) rounded = halved_away(rounded, then_[channel]);
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>(rounded + zero_, clamp_.lo, clamp_.hi));
  }
  const float scaled = static_cast<float>(sum) * scale_[channel];
  const float clamped =
      std::clamp(scaled, static_cast<float>(clamp_.lo - zero_), static_cast<float>(clamp_.hi - zero_));
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(std::lrintf(clamped)) + zero_);
}

void store_one_by_one(const Requant& requant, const std::int32_t* sums, std::int64_t sums_stride, std::int64_t rows,
                      std::int64_t columns, std::size_t channel, std::uint8_t* y, std::ptrdiff_t y_stride) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      y[row * y_stride + column] =
          requant.apply(sums[row * sums_stride + column], channel + static_cast<std::size_t>(column));
}

}  // namespace oaq
