// From an s32 sum to a u8 integer, in the two semantics of numerics/requantize.py and that of numerics/modular.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "requantize/float_requant.h"
#include "requantize/loops.h"

namespace oaq {

struct Clamp {
  int lo;
  int hi;
};

// Multipliers as they come from the program: `scale` for float32_half_even, or `multiplier` and `shift` for
// fixed_point, where `then` may be bits of a second rounding. Or `table`, 2^bits integers for each channel or for all,
// of sums that count modulo 2^bits.
struct Multipliers {
  std::vector<float> scale;
  std::vector<std::int32_t> multiplier;
  std::vector<std::int32_t> shift;
  std::vector<std::int32_t> then;
  std::vector<std::uint8_t> table;
  int bits = 0;  // 2 to 16 where there is a table

  bool is_fixed() const { return !multiplier.empty(); }
  bool is_modular() const { return bits != 0; }
  std::size_t size() const {
    if (is_modular()) return table.size() >> bits;
    return is_fixed() ? multiplier.size() : scale.size();
  }
};

inline constexpr int kFewestModularBits = 2, kMostModularBits = 16;

// Multipliers for `count` channels (one for all is repeated), the output's zero point and clamp.
class Requant {
 public:
  // Throws std::invalid_argument: sizes, multipliers that are not finite and positive, shifts outside [1, 62], a table
  // that is not of 2^bits integers for each channel or for all, a zero point or clamp outside [0, 255].
  Requant(const Multipliers& multipliers, std::size_t count, int zero_point, Clamp clamp);

  bool is_fixed() const { return !multiplier_.empty(); }
  bool is_modular() const { return !table_.empty(); }
  // Whether it is float32_half_even by multipliers below 1, so that every s32 sum times its multiplier fits s32.
  bool is_below_one() const { return below_one_; }
  // The same where zero point and lowest output are 0 besides.
  bool starts_from_zero() const { return below_one_ && zero_ == 0 && clamp_.lo == 0; }
  FloatRequant from(std::size_t channel) const;
  RequantNumbers numbers(std::size_t channel) const;
  // Sums of channels from `channel` on become bytes, by the loops of `isa` or by tables.
  void leave(Isa isa, std::size_t channel, const SumRows& sums, std::uint8_t* y, std::int64_t y_stride) const;
  std::uint8_t apply(std::int32_t sum, std::size_t channel) const { return requantized(numbers(channel), sum, 0); }

 private:
  std::vector<float> scale_;  // with room for vector code to read a whole tile
  std::vector<std::int32_t> multiplier_;
  std::vector<std::int32_t> shift_;
  std::vector<std::int32_t> then_;  // empty where sums are rounded once
  std::vector<std::uint8_t> table_;
  Residues residues_{};
  std::int32_t zero_;
  Clamp clamp_;
  bool below_one_;
  bool fits_ = false;  // sums of any size, first roundings, fit s32
};

// Throws std::invalid_argument.
void check_multipliers(const Multipliers& multipliers, std::size_t count);
void check_output(int zero_point, Clamp clamp);
void check_zero_point(int zero_point);

}  // namespace oaq
