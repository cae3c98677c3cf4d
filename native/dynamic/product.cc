// Runs a row's kernels tile by tile and hands their s32 sums, which are in the first cache, to the loops that make
// reals of them. Offsets only.
#include "dynamic/product.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::int64_t kMostSums = 1024;  // of a tile
constexpr std::int64_t kMostTerms = 1 << 22, kMostOutputs = 1 << 24;
constexpr std::int64_t kAhead = 2048;  // bytes of weights fetched before they are needed where each is used once

template <typename T>
AlignedVector<T> filled_up(const std::vector<T>& values, const ProductSpec& spec, const char* name, bool may_be_empty) {
  if (may_be_empty && values.empty()) return {};
  if (values.size() != static_cast<std::size_t>(spec.outputs))
    throw std::invalid_argument(std::to_string(values.size()) + " numbers of " + name + " for " +
                                std::to_string(spec.outputs) + " outputs");
  const std::int64_t tiles = divided_up(spec.outputs, spec.row->tile_n);
  AlignedVector<T> result(static_cast<std::size_t>(tiles * spec.row->tile_n), T{});
  std::copy(values.begin(), values.end(), result.begin());
  return result;
}

const ProductSpec& checked(const ProductSpec& spec) {
  const Row& row = *spec.row;
  if (row.x.shift) throw std::invalid_argument(std::string(row.name) + " does not multiply raw u8");
  if (spec.outputs < 1 || spec.outputs > kMostOutputs || spec.terms < 1 || spec.terms > kMostTerms)
    throw std::invalid_argument("a matrix has 1 to 2^24 outputs of 1 to 2^22 terms, not " +
                                std::to_string(spec.outputs) + " of " + std::to_string(spec.terms));
  if (std::int64_t{row.tile_m} * row.tile_n > kMostSums) throw std::invalid_argument("the row's tiles are too large");
  return spec;
}

Schedule schedule_of(const ProductSpec& spec) {
  ConvSpec conv{};
  conv.row = spec.row;
  conv.packed = spec.packed;
  conv.segments = spec.segments;
  return checked_schedule(conv, divided_up(spec.outputs, spec.row->tile_n),
                          divided_up(spec.terms, spec.row->sums.step));
}

}  // namespace

Product::Product(const ProductSpec& spec)
    : row_(*checked(spec).row),
      kernel_(gemm_kernel(row_)),
      loops_(dynamic_loops(row_.isa)),
      outputs_(spec.outputs),
      terms_(spec.terms),
      schedule_(schedule_of(spec)),
      packed_(spec.packed.begin(), spec.packed.end()),
      column_sum_(filled_up(spec.column_sum, spec, "column sums", false)),
      weight_zero_(filled_up(spec.weight_zero, spec, "zero points", true)),
      scale_(filled_up(spec.scale, spec, "scales", false)),
      bias_(filled_up(spec.bias, spec, "biases", true)) {
  order_runs(row_, schedule_, packed_);
  for (const TileSchedule& tile : schedule_.tiles) {
    first_piece_.push_back(pieces_.size());
    for (int i = 2 * tile.first; i < 2 * (tile.first + tile.count); i += 2) {
      const std::int32_t* segment = schedule_.segments.data() + i;
      const After after = i == 2 * tile.first ? After::kBegin : After::kAdd;
      pieces_.push_back({segment[0] * row_.sums.step, segment[1], after});
    }
  }
  first_piece_.push_back(pieces_.size());
  order_quads(row_, packed_);
}

void Product::run(const OperandRows& x, std::int64_t begin, std::int64_t end, float* y) const {
  GemmCall call{};
  call.stride = x.stride;
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const TileSchedule& of = schedule_.tiles[static_cast<std::size_t>(tile)];
    call.packed = packed_.data() + of.packed;
    call.next = kAhead;
    if (x.rows > row_.tile_m && tile + 1 < end)
      call.next = static_cast<std::int64_t>(schedule_.tiles[static_cast<std::size_t>(tile) + 1].packed - of.packed);
    run_tile(call, x, tile, y);
  }
}

// Groups of rows of equal height or one less: one row alone would waste registers.
void Product::run_tile(GemmCall& call, const OperandRows& x, std::int64_t tile, float* y) const {
  alignas(kLine) std::int32_t sums[kMostSums];
  alignas(kLine) std::int32_t start[kMostSums];  // of tile_n; filling all of it would cost more than one row does
  const std::int64_t tile_n = row_.tile_n, first = tile * tile_n, columns = std::min(tile_n, outputs_ - first);
  const auto part = static_cast<int>(divided_up(columns * row_.parts, tile_n));
  const std::size_t piece = first_piece_[static_cast<std::size_t>(tile)];
  const auto zero = x.one_zero ? static_cast<std::uint32_t>(x.zero[0]) : 0u;
  for (std::int64_t n = 0; n < tile_n; ++n) {
    const auto sum = static_cast<std::uint32_t>(column_sum_[static_cast<std::size_t>(first + n)]);
    start[n] = static_cast<std::int32_t>(0u - zero * sum);
  }
  call.sums = sums;
  call.bias = start;
  call.pieces = pieces_.data() + piece;
  call.piece_count = static_cast<std::int64_t>(first_piece_[static_cast<std::size_t>(tile) + 1] - piece);
  LeaveCall leaving{};
  leaving.sums = sums;
  leaving.tile_n = tile_n;
  leaving.columns = columns;
  leaving.column_sum = column_sum_.data() + first;
  leaving.weight_zero = weight_zero_.empty() ? nullptr : weight_zero_.data() + first;
  leaving.scale = scale_.data() + first;
  leaving.bias = bias_.empty() ? nullptr : bias_.data() + first;
  leaving.y_stride = outputs_;
  const std::int64_t groups = divided_up(x.rows, row_.tile_m);
  for (std::int64_t group = 0, row = 0; group < groups; ++group) {
    const std::int64_t rows = x.rows / groups + (group < x.rows % groups);
    call.x = x.q + row * x.stride;
    call.groups = call.lines = 1;
    kernel_.shape(part, static_cast<int>(rows))(&call);
    call.next = 0;  // the first group has asked for them
    leaving.rows = rows;
    leaving.row_scale = x.scale + row;
    leaving.row_zero = x.one_zero ? nullptr : x.zero + row;
    leaving.row_excess = leaving.weight_zero ? x.excess + row : nullptr;
    leaving.y = y + row * outputs_ + first;
    loops_.leave(leaving);
    row += rows;
  }
}

}  // namespace oaq
