// A convolution as products of matrices: positions by outputs, a block of positions at a time.
//
// Sums are made by the row's kernels (gemm.h says in which registers), and by requantize/loops.h become bytes where
// kernels leave s32. This file computes offsets only, in 64 bits.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/aligned.h"
#include "base/copy.h"
#include "base/sizes.h"
#include "conv/conv.h"
#include "gemm/gemm.h"
#include "gemm/operands.h"
#include "lookup/lookup.h"
#include "lookup/step.h"
#include "plan/read_conv.h"
#include "requantize/as_floats.h"

namespace oaq {
namespace {

// A nanosecond of one thread, about: products of a row of vectors and of scalar code, bytes of weights from the caches.
constexpr double kVectorProducts = 64, kScalarProducts = 2, kStreamedBytes = 30;
constexpr std::int64_t kAhead = 2048;  // bytes of weights fetched before they are needed where each is used once

class Conv2d : public Step {
 public:
  explicit Conv2d(const ConvSpec& spec);

  std::size_t weight_bytes() const override { return packed_.size(); }
  const std::uint8_t* weights() const override { return reinterpret_cast<const std::uint8_t*>(weights_); }
  void move_weights(std::uint8_t* to) override;
  std::size_t scratch_bytes() const override { return sums_bytes_ + results_bytes_ + operands_.scratch_bytes(); }
  Choices choices() const override { return {operands_.name(), count_ways(ways_)}; }
  Isas isas() const override { return included_in(row_.isa); }
  int chunks(int threads) const override;
  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override;

 private:
  struct Part {  // what one chunk computes
    std::int64_t unit_begin, unit_end, tile_begin, tile_end;
  };
  struct Units {  // what is prepared at once
    Block block;
    std::int64_t first;
  };
  struct Tile {  // outputs of one tile, where there are some
    std::int64_t number;
    std::size_t channel;
    std::int64_t columns;
  };
  struct Results {  // where bytes go: the first position of a block, bytes from one to the next
    std::uint8_t* first;
    std::int64_t pixel;
  };
  void add_pieces(const TileSchedule& tile, const Region& region);
  void choose_ways(const std::vector<Reach>& reaches);
  std::int64_t columns_of(std::int64_t tile) const;
  Part part(int chunk, int chunks) const;
  void run_block(const Units& units, std::uint8_t* y, std::int64_t group, const Part& part,
                 std::uint8_t* scratch) const;
  void run_tile(GemmCall& call, const Units& units, std::uint8_t* y, const Tile& tile, std::uint8_t* results) const;
  void leave_bytes(GemmCall& call, const Block& block, const Results& results, int shape) const;
  void leave_sums(GemmCall& call, const Block& block, const Results& results, const Tile& tile, int shape) const;

  const Row& row_;
  const GemmKernel& kernel_;
  Place x_, y_;
  Operands operands_;
  std::int64_t groups_, outputs_, group_tiles_;
  std::size_t weight_bytes_, sums_bytes_, results_bytes_;
  Schedule schedule_;
  std::vector<Piece> pieces_;
  std::vector<std::size_t> first_piece_;  // of each tile, region by region; at last, how many there are
  AlignedVector<std::int8_t> packed_;     // empty once they are moved
  const std::int8_t* weights_;
  AlignedVector<std::int32_t> bias_;   // (tiles, tile_n)
  AlignedVector<float> addend_;        // likewise, for floats
  AlignedVector<std::int16_t> words_;  // per tile: multipliers, then as many zero points
  std::vector<Way> ways_;              // per tile
  Requant requant_;
};

Conv2d::Conv2d(const ConvSpec& spec)
    : row_(*spec.row),
      kernel_(gemm_kernel(*spec.row)),
      x_(spec.x),
      y_(spec.y),
      operands_(spec),
      groups_(spec.groups),
      outputs_(spec.y.channels / spec.groups),
      group_tiles_(divided_up(spec.y.channels / spec.groups, spec.row->tile_n)),
      weight_bytes_(spec.packed.size()),
      schedule_(checked_schedule(spec, spec.groups * group_tiles_, operands_.bytes() / spec.row->sums.step)),
      packed_(spec.packed.begin(), spec.packed.end()),
      weights_(packed_.data()),
      bias_(bytes_of({spec.groups, group_tiles_, spec.row->tile_n}), 0),
      requant_(spec.multipliers, static_cast<std::size_t>(spec.y.channels), spec.y_zero_point, spec.clamp) {
  if (spec.bias.size() != static_cast<std::size_t>(y_.channels))
    throw std::invalid_argument(std::to_string(spec.bias.size()) + " biases for " + std::to_string(y_.channels) +
                                " outputs");
  order_runs(row_, schedule_, packed_);
  order_quads(row_, packed_);
  const Region everything = whole_of(spec.window, y_);
  for (const Region& region : operands_.regions())
    for (const TileSchedule& tile : schedule_.tiles) {
      first_piece_.push_back(pieces_.size());
      add_pieces(tile, region);
      if (pieces_.size() == first_piece_.back()) add_pieces(tile, everything);  // kernels execute a step at least
    }
  first_piece_.push_back(pieces_.size());
  for (std::int64_t group = 0; group < groups_; ++group)
    std::copy_n(spec.bias.begin() + group * outputs_, outputs_, bias_.begin() + group * group_tiles_ * row_.tile_n);
  ways_.assign(schedule_.tiles.size(), Way::kGeneral);
  if (row_.leaving.as_bytes && requant_.is_below_one()) choose_ways(reaches(spec, schedule_));
  sums_bytes_ = static_cast<std::size_t>(row_.tile_m * row_.tile_n) * sizeof(std::int32_t);
  results_bytes_ = bytes_of({operands_.block_units(), operands_.unit(), row_.tile_n});
  results_bytes_ = (results_bytes_ + kLine - 1) / kLine * kLine;
}

// The runs of a tile, each in pieces that lie together: what a region sees of them.
void Conv2d::add_pieces(const TileSchedule& tile, const Region& region) {
  const std::size_t first = pieces_.size();
  std::int64_t left_out = 0;
  for (int i = 2 * tile.first; i < 2 * (tile.first + tile.count); i += 2) {
    const std::int32_t* segment = schedule_.segments.data() + i;
    After after = pieces_.size() == first ? After::kBegin : After::kAdd;
    if (never_narrow(row_.sums)) after = After::kGoOn;  // one run, whatever it leaves out or does again
    operands_.add_pieces({segment[0] * std::int64_t{row_.sums.step}, segment[1]}, region, after, left_out, pieces_);
  }
  if (never_narrow(row_.sums) && pieces_.size() > first) pieces_.back().after = After::kBegin;
}

// Outputs of a tile that exist.
std::int64_t Conv2d::columns_of(std::int64_t tile) const {
  return std::min<std::int64_t>(row_.tile_n, outputs_ - tile % group_tiles_ * row_.tile_n);
}

void Conv2d::choose_ways(const std::vector<Reach>& reaches) {
  const auto tile_n = static_cast<std::size_t>(row_.tile_n);
  addend_.assign(bias_.size(), 0.0f);
  const auto places = static_cast<std::size_t>(word_places(row_));
  words_.assign(ways_.size() * 2 * places, static_cast<std::int16_t>(requant_.from(0).zero));
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    const auto tile = static_cast<std::int64_t>(i), columns = columns_of(tile);
    const auto channel = static_cast<std::size_t>(tile / group_tiles_ * outputs_ + tile % group_tiles_ * row_.tile_n);
    const std::size_t first = i * tile_n;
    const TileSums sums{
        channel, static_cast<std::size_t>(columns), {bias_.data() + first, tile_n}, {reaches.data() + first, tile_n}};
    if (const auto words = word_multipliers(requant_, sums); !words.empty()) {
      ways_[i] = way_of_words(requant_);
      const bool is_full = columns * row_.parts > row_.tile_n;
      for (std::size_t at = 0; at < places; ++at)
        words_[i * 2 * places + at] = words[static_cast<std::size_t>(word_output(row_, static_cast<int>(at), is_full))];
    } else if (const auto floats = float_biases(requant_, sums); !floats.empty()) {
      ways_[i] = Way::kFloats;
      std::copy(floats.begin(), floats.end(), bias_.begin() + static_cast<std::ptrdiff_t>(first));
      for (std::size_t at = 0; at < sums.columns; ++at)
        addend_[first + at] = -kFloatValue * *requant_.from(channel + at).scale;
    }
  }
}

void Conv2d::move_weights(std::uint8_t* to) {
  std::copy(packed_.begin(), packed_.end(), reinterpret_cast<std::int8_t*>(to));
  weights_ = reinterpret_cast<const std::int8_t*>(to);
  AlignedVector<std::int8_t>().swap(packed_);  // assigned an empty one, it would keep its memory
}

// Chunks of positions read all weights, each once; chunks of outputs prepare all operands, unless they lie ready.
int Conv2d::chunks(int threads) const {
  const double products = static_cast<double>(y_.bytes()) * static_cast<double>(operands_.bytes());
  const double nanoseconds = products / (row_.isa == Isa::kScalar ? kScalarProducts : kVectorProducts);
  return chunks_that(nanoseconds, threads, [&](int chunks) {
    if (!operands_.serve(chunks)) return operands_.name() == "direct";
    return static_cast<double>(weight_bytes_) * chunks / kStreamedBytes < nanoseconds / 10;
  });
}

Conv2d::Part Conv2d::part(int chunk, int chunks) const {
  const std::int64_t units = operands_.units(), tiles = groups_ * group_tiles_;
  const auto cut = [&](std::int64_t size, int c) { return size * c / chunks; };
  if (operands_.serve(chunks)) return {cut(units, chunk), cut(units, chunk + 1), 0, tiles};
  return {0, units, cut(tiles, chunk), cut(tiles, chunk + 1)};
}

void Conv2d::run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const {
  const Part mine = part(chunk, chunks);
  if (mine.unit_begin == mine.unit_end || mine.tile_begin == mine.tile_end) return;
  for (std::int64_t unit = mine.unit_begin; unit < mine.unit_end; unit += operands_.block_units()) {
    const std::int64_t count = std::min(operands_.block_units(), mine.unit_end - unit);
    std::uint8_t* y = arena + y_.offset + unit * operands_.unit() * y_.channels;
    for (std::int64_t group = mine.tile_begin / group_tiles_; group * group_tiles_ < mine.tile_end; ++group)
      run_block({operands_.block(arena + x_.offset, unit, count, group, scratch + sums_bytes_ + results_bytes_), unit},
                y, group, mine, scratch);
  }
}

void Conv2d::run_block(const Units& units, std::uint8_t* y, std::int64_t group, const Part& part,
                       std::uint8_t* scratch) const {
  const std::int64_t begin = std::max(part.tile_begin, group * group_tiles_);
  const std::int64_t end = std::min(part.tile_end, (group + 1) * group_tiles_);
  const FloatRequant requant = requant_.from(0);
  GemmCall call{};
  call.sums = reinterpret_cast<std::int32_t*>(scratch);
  call.hi = requant.clamp_hi;
  call.zero = requant.zero;
  call.lo = requant.clamp_lo;
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const TileSchedule& of = schedule_.tiles[static_cast<std::size_t>(tile)];
    const std::int64_t first = (tile - group * group_tiles_) * row_.tile_n;
    const Tile outputs{tile, static_cast<std::size_t>(group * outputs_ + first), columns_of(tile)};
    call.packed = weights_ + of.packed;
    call.next = kAhead;
    if (units.block.lines * units.block.columns > row_.tile_m && tile + 1 < end)
      call.next = static_cast<std::int64_t>(schedule_.tiles[static_cast<std::size_t>(tile) + 1].packed - of.packed);
    const std::ptrdiff_t place = tile * row_.tile_n;
    call.bias = bias_.data() + place;
    call.scale = requant.scale + outputs.channel;
    call.way = ways_[static_cast<std::size_t>(tile)];
    call.addend = call.way == Way::kFloats ? addend_.data() + place : nullptr;
    call.words = is_in_words(call.way) ? words_.data() + tile * 2 * word_places(row_) : nullptr;
    run_tile(call, units, y, outputs, scratch + sums_bytes_);
  }
}

// One tile of outputs at all positions of a block, region by region.
void Conv2d::run_tile(GemmCall& call, const Units& units, std::uint8_t* y, const Tile& tile,
                      std::uint8_t* results) const {
  const auto shape = static_cast<int>(divided_up(tile.columns * row_.parts, row_.tile_n));
  const bool are_bytes = row_.leaving.as_bytes && requant_.is_below_one();
  const bool is_full = tile.columns * row_.parts == shape * row_.tile_n;  // else kernels write more than exists
  std::uint8_t* to = !are_bytes || is_full ? y + tile.channel : results;
  const std::int64_t pixel = to == results ? row_.tile_n : y_.channels;
  auto pieces = static_cast<std::size_t>(tile.number);
  for (const Region& region : operands_.regions()) {
    const Block block = operands_.part(units.block, units.first, region);
    call.pieces = pieces_.data() + first_piece_[pieces];
    call.piece_count = static_cast<std::int64_t>(first_piece_[pieces + 1] - first_piece_[pieces]);
    pieces += schedule_.tiles.size();
    if (!block.lines) continue;
    call.stride = block.stride;
    const Results of_region{to + block.first * pixel, pixel};
    if (are_bytes)
      leave_bytes(call, block, of_region, shape);
    else
      leave_sums(call, block, of_region, tile, shape);
  }
  if (to == results)
    copy_pixels(y + tile.channel, y_.channels, results, row_.tile_n, tile.columns,
                units.block.lines * units.block.columns);
}

// Every line in groups of equal height or one less: one row alone would waste registers. Members of a call are set one
// by one: a copy of one that was just written waits until all of it has reached the cache.
void Conv2d::leave_bytes(GemmCall& call, const Block& block, const Results& results, int shape) const {
  const std::int64_t groups = divided_up(block.columns, row_.tile_m), height = block.columns / groups;
  const std::int64_t taller = block.columns % groups, next = block.next * results.pixel;
  const std::int64_t below = block.below * results.pixel;
  call.y_stride = next;
  std::int64_t column = 0;
  for (const auto& [rows, count] : {std::pair{height + 1, taller}, std::pair{height, groups - taller}}) {
    if (!count) continue;
    call.x = block.x + column * block.stride;
    call.y = results.first + column * next;
    call.groups = call.line_groups = count;
    call.lines = block.lines;
    call.x_jump = block.line - (count - 1) * rows * block.stride;
    call.y_jump = below - (count - 1) * rows * next;
    kernel_.shape(shape, static_cast<int>(rows))(&call);
    column += count * rows;
    call.next = 0;  // its first group has asked for them
  }
}

// The same where the kernel leaves s32 sums.
void Conv2d::leave_sums(GemmCall& call, const Block& block, const Results& results, const Tile& tile, int shape) const {
  const std::int64_t pixel = results.pixel;
  call.y = nullptr;
  for (std::int64_t line = 0; line < block.lines; ++line)
    for (std::int64_t row = 0; row < block.columns; row += row_.tile_m) {
      const std::int64_t rows = std::min<std::int64_t>(row_.tile_m, block.columns - row);
      call.x = block.x + line * block.line + row * block.stride;
      call.groups = call.lines = 1;
      kernel_.shape(shape, static_cast<int>(rows))(&call);
      requant_.leave(row_.isa, tile.channel, {call.sums, row_.tile_n, rows, tile.columns},
                     results.first + (line * block.below + row * block.next) * pixel, block.next * pixel);
    }
  call.next = 0;
}

}  // namespace

std::unique_ptr<Step> make_conv2d(const ConvSpec& spec) {
  check_window(spec.window, spec.x, spec.y);
  check_zero_point(spec.x_zero_point);
  if (spec.groups < 1 || spec.x.channels % spec.groups || spec.y.channels % spec.groups)
    throw std::invalid_argument(std::to_string(spec.groups) + " groups do not divide " +
                                std::to_string(spec.x.channels) + " and " + std::to_string(spec.y.channels) +
                                " channels");
  if (lookup_loops(*spec.row)) return make_lookup_conv(spec);
  return std::make_unique<Conv2d>(spec);
}

std::unique_ptr<Step> parse_gemm(StepRecord& record) { return make_conv2d(read_conv(record)); }

std::unique_ptr<Step> parse_gemm_volume(StepRecord& record) {
  const Planes planes = record.fields.planes();
  return make_conv2d(read_conv(record, planes));
}

}  // namespace oaq
