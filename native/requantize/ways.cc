// Which of the ways every output of a tile allows, and the multipliers and biases of each. In s64, **exact**.
#include "requantize/ways.h"

#include <algorithm>

#include "requantize/as_floats.h"
#include "requantize/in_words.h"

namespace oaq {

std::array<std::int32_t, 3> count_ways(const std::vector<Way>& ways) {
  std::array<std::int32_t, 3> tiles{};
  for (const Way way : ways) ++tiles[static_cast<std::size_t>(is_in_words(way) ? Way::kWords : way)];
  return tiles;
}

std::vector<std::int16_t> word_multipliers(const Requant& requant, const TileSums& tile) {
  if (!requant.is_below_one()) return {};
  std::vector<std::int16_t> words(tile.bias.size(), 0);
  for (std::size_t i = 0; i < tile.columns; ++i) {
    const FloatRequant output = requant.from(tile.channel + i);
    const int lo = output.clamp_lo - output.zero, hi = output.clamp_hi - output.zero;
    words[i] = word_multiplier(*output.scale, lo, hi);
    const std::int64_t least = tile.bias[i] + tile.reach[i].down, most = tile.bias[i] + tile.reach[i].up;
    if (!words[i] || !word_holds(words[i], lo, hi, least, most)) return {};
  }
  return words;
}

std::vector<std::int32_t> float_biases(const Requant& requant, const TileSums& tile) {
  if (!requant.starts_from_zero()) return {};
  std::vector<std::int32_t> biases(tile.bias.size());
  std::transform(tile.bias.begin(), tile.bias.end(), tile.reach.begin(), biases.begin(),
                 [](std::int32_t bias, const Reach& reach) { return float_bias(bias, reach.down, reach.up); });
  return std::find(biases.begin(), biases.end(), 0) == biases.end() ? biases : std::vector<std::int32_t>{};
}

}  // namespace oaq
