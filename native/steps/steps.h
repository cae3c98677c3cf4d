// Operators that sum no products of weights. Each throws std::invalid_argument for anything that does not fit together.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/table.h"
#include "conv/conv.h"
#include "requantize/requantize.h"
#include "step.h"

namespace oaq {

// How a result becomes u8.
struct Output {
  Multipliers multipliers;
  int zero_point;
  Clamp clamp;
};

// y = a + b, each at the output's scale; multipliers (a, b).
std::unique_ptr<Step> make_add(const Row& row, const Place& a, const Place& b, const Place& y, int a_zero_point,
                               int b_zero_point, const Output& output);
// y = a * b; b of the same shape, or one value per channel.
std::unique_ptr<Step> make_mul(const Row& row, const Place& a, const Place& b, const Place& y, int a_zero_point,
                               int b_zero_point, const Output& output);
// Side by side on the channel axis, input i requantized by multiplier i.
std::unique_ptr<Step> make_concat(const Row& row, const std::vector<Place>& x, const Place& y,
                                  const std::vector<int>& zero_points, const Output& output);
std::unique_ptr<Step> make_lookup(const Row& row, const Place& x, const Place& y,
                                  const std::vector<std::uint8_t>& table);

// Channel c by entries [256 c, 256 c + 256) of `tables`.
std::unique_ptr<Step> make_channel_lookup(const Row& row, const Place& x, const Place& y,
                                          const std::vector<std::uint8_t>& tables);

std::unique_ptr<Step> make_max_pool(const Row& row, const Place& x, const Place& y, const Window& window, Clamp clamp);
// Multiplier count - 1 for a window that averages `count` values.
std::unique_ptr<Step> make_avg_pool(const Row& row, const Place& x, const Place& y, const Window& window,
                                    bool count_include_pad, int zero_point, const Output& output);
std::unique_ptr<Step> make_global_avg_pool(const Row& row, const Place& x, const Place& y, int zero_point,
                                           const Output& output);

std::unique_ptr<Step> make_copy(const Place& x, const Place& y);
// Of planes only the padding counts, and how many there are.
std::unique_ptr<Step> make_pad(const Place& x, const Place& y, const std::array<int, 4>& padding, int zero_point,
                               const Planes& planes);
// Of planes: `before` is the first that stays.
std::unique_ptr<Step> make_slice(const Place& x, const Place& y, const std::array<int, 3>& begin,
                                 const std::array<int, 3>& end, const Planes& planes);
// Entries of one axis by index: x is (outer, size, ...), y is (outer, number of indices, ...).
std::unique_ptr<Step> make_gather(const Row& row, const Place& x, const Place& y, std::int64_t outer, std::int64_t size,
                                  std::vector<std::int32_t> index);
// Memory of x cut into nested stretches, the slowest first, and written in another order of them.
std::unique_ptr<Step> make_transpose(const Row& row, const Place& x, const Place& y, const std::array<int, 8>& split,
                                     const std::array<int, 8>& order);
std::unique_ptr<Step> make_resize(const Row& row, const Place& x, const Place& y, const std::string& mode);
std::unique_ptr<Step> make_depth_to_space(const Row& row, const Place& x, const Place& y, int block,
                                          const std::string& mode);

// Shared by the factories.
[[noreturn]] void refuse(const std::string& message);
bool same_shape(const Place& a, const Place& b);

// The part [begin, end) of `size` things that is one chunk of `chunks`.
struct Share {
  std::int64_t begin, end;
  Share(std::int64_t first, std::int64_t last) : begin(first), end(last) {}
  Share(std::int64_t size, int chunk, int chunks) : begin(size * chunk / chunks), end(size * (chunk + 1) / chunks) {}
};

}  // namespace oaq
