#include "requantize/ways.h"

#include <algorithm>

#include "requantize/as_floats.h"
#include "requantize/in_words.h"

namespace oaq {

std::array<std::int32_t, 3> counted(const std::vector<Way>& ways) {
  std::array<std::int32_t, 3> tiles{};
  for (const Way way : ways) ++tiles[static_cast<std::size_t>(way)];
  return tiles;
}

std::vector<std::int16_t> word_multipliers(const Requant& requant, const TileSums& tile) {
  if (!requant.starts_from_zero()) return {};
  std::vector<std::int16_t> made(tile.bias.size(), 0);
  for (std::size_t i = 0; i < tile.columns; ++i) {
    const FloatRequant how = requant.from(tile.channel + i);
    made[i] = word_multiplier(*how.scale, how.clamp_hi);
    if (!made[i] || !word_holds(made[i], how.clamp_hi, tile.bias[i] + tile.reach[i].up)) return {};
  }
  return made;
}

std::vector<std::int32_t> float_biases(const Requant& requant, const TileSums& tile) {
  if (!requant.starts_from_zero()) return {};
  std::vector<std::int32_t> made(tile.bias.size());
  std::transform(tile.bias.begin(), tile.bias.end(), tile.reach.begin(), made.begin(),
                 [](std::int32_t bias, const Reach& reach) { return float_bias(bias, reach.down, reach.up); });
  return std::find(made.begin(), made.end(), 0) == made.end() ? made : std::vector<std::int32_t>{};
}

}  // namespace oaq
