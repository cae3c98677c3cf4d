// How the sums of a tile become bytes: the quickest way that all its outputs allow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "requantize/requantize.h"

namespace oaq {

// Known to the generators of loops by their numbers.
enum class Way : std::int32_t {
  kGeneral = 0,
  kFloats = 1,      // sums, by their bias, are the bits of floats: requantize/as_floats.h
  kWords = 2,       // in 16 bits: requantize/in_words.h; zero point and lowest value are 0
  kMovedWords = 3,  // likewise, and moved by a zero point
};

// How many tiles leave each way, the last two together.
std::array<std::int32_t, 3> count_ways(const std::vector<Way>& ways);

// How far operands can move a sum from its bias.
struct Reach {
  std::int64_t down;  // <= 0
  std::int64_t up;
};

// Outputs of one tile, in the order of channels.
struct TileSums {
  std::size_t channel;  // of the first
  std::size_t columns;  // how many there are; a tile may have room for more
  std::span<const std::int32_t> bias;
  std::span<const Reach> reach;
};

// Whether a tile leaves by multipliers of requantize/in_words.h.
inline bool is_in_words(Way way) { return way == Way::kWords || way == Way::kMovedWords; }

// The way of tiles whose multipliers are words.
inline Way way_of_words(const Requant& requant) { return requant.starts_from_zero() ? Way::kWords : Way::kMovedWords; }

// The multipliers of requantize/in_words.h, 0 where there is no output; empty if an output does not allow them.
std::vector<std::int16_t> word_multipliers(const Requant& requant, const TileSums& tile);

// The biases of requantize/as_floats.h; empty if an output does not allow one.
std::vector<std::int32_t> float_biases(const Requant& requant, const TileSums& tile);

}  // namespace oaq
