// A convolution as products of matrices: positions by outputs, a block of positions at a time.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "base/aligned.h"
#include "conv/conv.h"
#include "conv/patches.h"
#include "gemm/gemm.h"

namespace oaq {
namespace {

constexpr int kBlockBytes = 24 * 1024;  // of operands: with a tile of weights they stay in the first cache
constexpr int kFewPositions = 8;        // per thread: with fewer, threads share outputs instead

class Conv2d : public Step {
 public:
  explicit Conv2d(const ConvSpec& spec);

  std::size_t scratch_bytes() const override { return sums_bytes_ + block_bytes_; }
  void run(std::uint8_t* arena, std::uint8_t* scratch, int thread, int threads) const override;

 private:
  struct Part {  // what one thread computes
    int row_begin, row_end, tile_begin, tile_end;
  };
  Part part(int thread, int threads) const;
  void run_block(const std::uint8_t* x, std::ptrdiff_t x_stride, std::uint8_t* y, int rows, int group, const Part& part,
                 std::int32_t* sums) const;
  void run_tile(GemmCall& call, std::uint8_t* y, int rows, int columns, std::size_t channel) const;

  const Row& row_;
  const GemmKernel& kernel_;
  Place x_, y_;
  Patches patches_;
  int groups_, outputs_, group_tiles_, block_rows_;
  std::size_t sums_bytes_, block_bytes_;
  Schedule schedule_;
  AlignedVector<std::int8_t> packed_;
  AlignedVector<std::int32_t> bias_;  // (tiles, tile_n)
  Requant requant_;
};

int divided_up(int a, int b) { return (a + b - 1) / b; }

Conv2d::Conv2d(const ConvSpec& spec)
    : row_(*spec.row),
      kernel_(gemm_kernel(*spec.row)),
      x_(spec.x),
      y_(spec.y),
      patches_(spec.window, spec.x, spec.y, spec.groups, spec.row->sums.step, spec.x_zero_point),
      groups_(spec.groups),
      outputs_(spec.y.channels / spec.groups),
      group_tiles_(divided_up(spec.y.channels / spec.groups, spec.row->tile_n)),
      schedule_(checked_schedule(spec, spec.groups * group_tiles_, patches_.bytes() / spec.row->sums.step)),
      packed_(spec.packed.begin(), spec.packed.end()),
      bias_(static_cast<std::size_t>(spec.groups * group_tiles_ * spec.row->tile_n), 0),
      requant_(spec.multipliers, static_cast<std::size_t>(spec.y.channels), spec.y_zero_point, spec.clamp) {
  if (spec.bias.size() != static_cast<std::size_t>(y_.channels))
    throw std::invalid_argument(std::to_string(spec.bias.size()) + " biases for " + std::to_string(y_.channels) +
                                " outputs");
  for (std::size_t i = 0; i + 1 < schedule_.segments.size(); i += 2) schedule_.segments[i] *= row_.sums.step;
  for (int group = 0; group < groups_; ++group)
    std::copy_n(spec.bias.begin() + group * outputs_, outputs_, bias_.begin() + group * group_tiles_ * row_.tile_n);
  const int most = kernel_.most_rows;
  block_rows_ = std::clamp(kBlockBytes / patches_.bytes() / most, 1, 16) * most;
  sums_bytes_ = static_cast<std::size_t>(most * row_.tile_n) * sizeof(std::int32_t);
  block_bytes_ = patches_.direct() ? 0 : static_cast<std::size_t>(block_rows_) * patches_.stride() + kSlack;
}

Conv2d::Part Conv2d::part(int thread, int threads) const {
  const int positions = y_.height * y_.width, tiles = groups_ * group_tiles_;
  const auto cut = [&](int size, int t) { return static_cast<int>(std::int64_t{size} * t / threads); };
  if (positions >= threads * kFewPositions) return {cut(positions, thread), cut(positions, thread + 1), 0, tiles};
  return {0, positions, cut(tiles, thread), cut(tiles, thread + 1)};
}

void Conv2d::run(std::uint8_t* arena, std::uint8_t* scratch, int thread, int threads) const {
  const Part mine = part(thread, threads);
  if (mine.row_begin == mine.row_end || mine.tile_begin == mine.tile_end) return;
  auto* sums = reinterpret_cast<std::int32_t*>(scratch);
  std::uint8_t* block = scratch + sums_bytes_;
  const std::uint8_t* x = arena + x_.offset;
  for (int row = mine.row_begin; row < mine.row_end; row += block_rows_) {
    const int rows = std::min(block_rows_, mine.row_end - row);
    std::uint8_t* y = arena + y_.offset + static_cast<std::ptrdiff_t>(row) * y_.channels;
    for (int group = mine.tile_begin / group_tiles_; group * group_tiles_ < mine.tile_end; ++group) {
      if (patches_.direct()) {
        run_block(patches_.first(x, row, group), x_.channels, y, rows, group, mine, sums);
      } else {
        patches_.gather(x, row, rows, group, block);
        run_block(block, static_cast<std::ptrdiff_t>(patches_.stride()), y, rows, group, mine, sums);
      }
    }
  }
}

void Conv2d::run_block(const std::uint8_t* x, std::ptrdiff_t x_stride, std::uint8_t* y, int rows, int group,
                       const Part& part, std::int32_t* sums) const {
  const int begin = std::max(part.tile_begin, group * group_tiles_);
  const int end = std::min(part.tile_end, (group + 1) * group_tiles_);
  const int cuts = divided_up(rows, kernel_.most_rows);
  for (int tile = begin; tile < end; ++tile) {
    const TileSchedule& of = schedule_.tiles[static_cast<std::size_t>(tile)];
    const int first = (tile - group * group_tiles_) * row_.tile_n;
    const int columns = std::min(row_.tile_n, outputs_ - first);
    const int channel = group * outputs_ + first;
    GemmCall call{};
    call.stride = x_stride;
    call.packed = packed_.data() + of.packed;
    call.segments = schedule_.segments.data() + 2 * of.first;
    call.segment_count = of.count;
    call.sums = sums;
    call.bias = bias_.data() + static_cast<std::ptrdiff_t>(tile) * row_.tile_n;
    for (int cut = 0; cut < cuts; ++cut) {  // rows in equal parts: one row alone would waste the registers
      const int from = rows * cut / cuts, count = rows * (cut + 1) / cuts - from;
      call.x = x + from * x_stride;
      run_tile(call, y + static_cast<std::ptrdiff_t>(from) * y_.channels + channel, count, columns,
               static_cast<std::size_t>(channel));
    }
  }
}

void Conv2d::run_tile(GemmCall& call, std::uint8_t* y, int rows, int columns, std::size_t channel) const {
  const int part = divided_up(columns * kernel_.parts, row_.tile_n);
  kernel_.shape(part, rows)(&call);
  if (kernel_.store && !requant_.is_fixed())
    kernel_.store(call.sums, rows, columns, requant_.from(channel), y, y_.channels);
  else
    store_one_by_one(requant_, call.sums, row_.tile_n, rows, columns, channel, y, y_.channels);
}

}  // namespace

std::unique_ptr<Step> make_conv2d(const ConvSpec& spec) {
  check_window(spec.window, spec.x, spec.y);
  check_zero_point(spec.x_zero_point);
  if (spec.groups < 1 || spec.x.channels % spec.groups || spec.y.channels % spec.groups)
    throw std::invalid_argument(std::to_string(spec.groups) + " groups do not divide " +
                                std::to_string(spec.x.channels) + " and " + std::to_string(spec.y.channels) +
                                " channels");
  return std::make_unique<Conv2d>(spec);
}

}  // namespace oaq
