// A convolution as the plan gives it, checked, and the two families of steps that compute one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/table.h"
#include "requantize/requantize.h"
#include "requantize/ways.h"
#include "step.h"

namespace oaq {

// Along the planes of a volume, which lie one above the other in a tensor's height; an image is one plane.
struct Planes {
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t before = 0;  // planes of padding
  std::int64_t after = 0;
  std::int64_t dilation = 1;
  std::int64_t x = 1;  // how many planes the input has
  std::int64_t y = 1;  // and the output
};

// Of a convolution or a pool: [0] along height, [1] along width.
struct Window {
  std::int64_t kernel[2];
  std::int64_t stride[2];
  std::int64_t padding[4];  // top, bottom, left, right
  std::int64_t dilation[2];
  Planes planes = {};

  std::int64_t taps() const { return planes.kernel * kernel[0] * kernel[1]; }

  // Lines of the input that a window sees.
  std::int64_t lines() const { return planes.kernel * kernel[0]; }

  // Whether planes make a difference: a window may see nothing but padding before the only one.
  bool is_volume() const { return planes.kernel != 1 || planes.x != 1 || planes.y != 1 || planes.before != 0; }
};

struct ConvSpec {
  const Row* row;
  Place x;
  Place y;
  Window window;
  std::int64_t groups;                  // depthwise: as many as channels
  std::span<const std::int8_t> packed;  // (steps, tile_n, step); the caller's, and copied
  std::vector<std::int32_t> segments;   // (tile, start, count) each, in steps
  std::vector<std::int32_t> bias;       // folded: bias - zx * sum(w)
  Multipliers multipliers;
  int x_zero_point;
  int y_zero_point;
  Clamp clamp;
};

// The schedule of one tile: its weights, and its segments as kernels read them.
struct TileSchedule {
  std::size_t packed;  // offset of its first weight
  int first;           // its first segment
  int count;
};

// What both families make of a schedule.
struct Schedule {
  std::vector<TileSchedule> tiles;
  std::vector<std::int32_t> segments;  // (start, count) each, in steps
};

// Whether sums of the register are s32 wherever a run ends: spills cost nothing then, and none is needed.
bool never_narrow(const Register& sums);

// Weights that the row takes: any where it looks up as many bits of sums as count.
Range accepted_weights(const ConvSpec& spec);

// Throws std::invalid_argument naming what does not fit: the window and the shapes.
void check_window(const Window& window, const Place& x, const Place& y);

// Checks a schedule and regroups it by tile. Neighbouring segments become one where the row's register is spilled in
// every step or cannot overflow anyway. Throws std::invalid_argument.
Schedule checked_schedule(const ConvSpec& spec, std::int64_t tiles, std::int64_t steps);

// Where s32 sums stay in registers between runs, which are short (table.h: max_run), the longest of a tile come first,
// and their weights with them: kernels have a loop for each length. Elsewhere nothing changes.
void order_runs(const Row& row, Schedule& schedule, std::span<std::int8_t> packed);

// Plans have the weights of a step output by output; kernels that sum several quads in a step of x86 registers read
// each quad of all outputs, one after another. Elsewhere nothing changes.
void order_quads(const Row& row, std::span<std::int8_t> packed);

// How far operands can move the sum of each output from its bias: (tiles, tile_n).
std::vector<Reach> reaches(const ConvSpec& spec, const Schedule& schedule);

// Throws std::invalid_argument: anything that does not fit together.
std::unique_ptr<Step> make_conv2d(const ConvSpec& spec);
std::unique_ptr<Step> make_depthwise(const ConvSpec& spec);

}  // namespace oaq
