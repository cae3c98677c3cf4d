// A convolution by tables (lookup/lookup.h), a band of positions at a time: operands become indices, indices are
// gathered for groups of positions, every tile of outputs sums them, and bytes leave sixteen outputs together.
#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <string>

#include "base/aligned.h"
#include "base/sizes.h"
#include "conv/conv.h"
#include "lookup/digits.h"
#include "lookup/results.h"
#include "lookup/step.h"
#include "lookup/tables.h"

namespace oaq {
namespace {

constexpr std::int64_t kBandBytes = 320 * 1024;  // of sheets and streams
constexpr std::int64_t kMadeGroups = 4;          // of positions that tables are made for
constexpr std::int64_t kStored = 64;             // outputs whose results leave together
constexpr std::size_t kWidest = 64;              // vector
constexpr double kProducts = 500;                // a nanosecond, about

std::size_t lines(std::initializer_list<std::int64_t> sizes) { return (bytes_of(sizes) + kLine - 1) / kLine * kLine; }

class LookupConv : public Step {
 public:
  LookupConv(const ConvSpec& spec, const LookupLoops& loops);

  std::size_t weight_bytes() const override { return tables_.bytes(); }
  const std::uint8_t* weights() const override { return tables_.begin(); }
  void move_weights(std::uint8_t* to) override { tables_.move(to); }
  std::size_t scratch_bytes() const override { return scratch_.all; }
  Choices choices() const override { return {tables_.are_kept() ? "kept tables" : "made tables", {}}; }
  Isas isas() const override { return included_in(row_.isa); }
  int chunks(int threads) const override;
  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override;

 private:
  // Where each part of a thread's scratch begins.
  struct Scratch {
    std::size_t planes, sheets, pieces, index, tables, sums, results, all;
  };
  struct Band {
    Span positions, pixels;
  };
  struct Outputs {  // of a tile, where there are some
    std::int64_t channel, columns;
  };
  void place_scratch();
  std::int64_t units() const { return divided_up(grid_.positions(), unit_); }
  void pack(const std::uint8_t* x, const Band& band, std::int64_t group, std::uint8_t* scratch) const;
  std::int64_t lines_of(std::int64_t units) const;
  std::int64_t stream_bytes(std::int64_t units) const;
  void gather(const Band& band, std::uint8_t* scratch) const;
  void run_block(const Band& band, Span block, Span tiles, std::uint8_t* y, std::uint8_t* scratch) const;
  void run_tile(std::int64_t tile, const Band& band, Span block, std::uint8_t* results, std::uint8_t* scratch) const;
  Outputs outputs_of(std::int64_t tile) const;

  const Row& row_;
  const LookupLoops& loops_;
  Place x_, y_;
  Grid grid_;
  Sheets sheets_;
  std::int64_t groups_, channels_, outputs_, group_tiles_, steps_, unit_, band_units_, block_, pitch_ = 0,
                                                                                               stream_pitch_ = 0;
  std::vector<std::int64_t> index_at_;  // of each step, from the index of a stream's first position
  Schedule schedule_;
  std::vector<LookupRun> runs_;
  std::vector<std::int64_t> first_run_;  // of each tile; at last, how many there are
  std::vector<std::uint8_t> pads_;
  LookupTables tables_;
  LookupResults results_;
  Scratch scratch_{};
};

LookupConv::LookupConv(const ConvSpec& spec, const LookupLoops& loops)
    : row_(*spec.row),
      loops_(loops),
      x_(spec.x),
      y_(spec.y),
      grid_(spec),
      sheets_(spec, grid_),
      groups_(spec.groups),
      channels_(spec.x.channels / spec.groups),
      outputs_(spec.y.channels / spec.groups),
      group_tiles_(divided_up(outputs_, kLookupOutputs)),
      steps_(divided_up(spec.window.taps() * channels_, spec.row->sums.step)),
      unit_(grid_.is_direct() ? loops.positions() : grid_.unit()),
      schedule_(checked_schedule(spec, spec.groups * group_tiles_, steps_)),
      tables_(spec, loops, schedule_),
      results_(spec, loops, schedule_) {
  if (spec.bias.size() != static_cast<std::size_t>(y_.channels))
    throw std::invalid_argument(std::to_string(spec.bias.size()) + " biases for " + std::to_string(y_.channels) +
                                " outputs");
  for (const TileSchedule& tile : schedule_.tiles) {
    first_run_.push_back(static_cast<std::int64_t>(runs_.size()));
    for (int i = 2 * tile.first; i < 2 * (tile.first + tile.count); i += 2) {
      runs_.push_back(
          {schedule_.segments[static_cast<std::size_t>(i)], schedule_.segments[static_cast<std::size_t>(i) + 1]});
    }
  }
  first_run_.push_back(static_cast<std::int64_t>(runs_.size()));
  const int bits = operand_bits(row_);
  for (std::int64_t sheet = 0; sheet < sheets_.count(); ++sheet) {
    unsigned pad = 0;
    for (int i = 0; i < sheets_.operands; ++i)
      if (sheets_.digits[static_cast<std::size_t>(sheet * sheets_.operands + i)])
        pad |= static_cast<unsigned>(spec.x_zero_point) << (bits * i);
    pads_.push_back(static_cast<std::uint8_t>(pad));
  }
  place_scratch();
}

// Lines of outputs in so many units, or positions where there are no lines.
std::int64_t LookupConv::lines_of(std::int64_t units) const { return units * unit_ / grid_.unit(); }

// Indices of a stream for so many units.
std::int64_t LookupConv::stream_bytes(std::int64_t units) const {
  const std::int64_t lines = grid_.is_direct() ? lines_of(units) : grid_.stream_lines(lines_of(units));
  return static_cast<std::int64_t>(bytes_of({lines, grid_.unit()}));
}

// The band, the blocks in it, and what they need.
void LookupConv::place_scratch() {
  const std::int64_t group = loops_.positions(), width = loops_.width, sheets = sheets_.count();
  band_units_ = 1;
  const auto band_bytes = [&](std::int64_t units) {
    return sheets * grid_.most_pixels(lines_of(units)) + sheets_.streams * stream_bytes(units);
  };
  while (band_units_ < units() && band_bytes(2 * band_units_) <= kBandBytes) band_units_ *= 2;
  band_units_ = std::min(band_units_, units());
  block_ = std::min(tables_.are_kept() ? 1 : kMadeGroups, divided_up(band_units_ * unit_, group)) * group;
  pitch_ = divided_up(grid_.most_pixels(lines_of(band_units_)), width) * width;
  constexpr auto kLines = static_cast<std::int64_t>(kLine);
  stream_pitch_ = (divided_up(stream_bytes(band_units_) + kLines, kLines) | 1) * kLines;  // odd: in all sets of a cache
  for (const Sheets::Step& step : sheets_.steps)
    index_at_.push_back(step.stream * stream_pitch_ +
                        grid_.first_line(step.tap_line, lines_of(band_units_)) * y_.width);
  std::size_t at = 0;
  const auto place = [&at](std::size_t bytes) {
    const std::size_t begin = at;
    at += bytes;
    if (at > static_cast<std::size_t>(kMostBytes)) bytes_of({kMostBytes, 2});
    return begin;
  };
  scratch_.planes = place(lines({divided_up(channels_, 16) * 16 + 1, width}));
  scratch_.sheets = place(lines({sheets, pitch_}) + 2 * kSlack);
  scratch_.pieces = place(lines(
      {divided_up(stream_bytes(band_units_), grid_.unit()) * divided_up(grid_.unit(), width), sizeof(LookupPiece)}));
  scratch_.index = place(lines({sheets_.streams, stream_pitch_}) + kSlack);
  scratch_.tables = place(lines({static_cast<std::int64_t>(tables_.scratch_bytes())}));
  scratch_.sums = place(results_.scratch_bytes());
  scratch_.results = place(lines({kStored, block_}) + kSlack);
  scratch_.all = at;
}

// Chunks of positions, or of tiles where there are too few of them: those make all operands ready each.
int LookupConv::chunks(int threads) const {
  const double products = static_cast<double>(y_.bytes()) * static_cast<double>(steps_ * row_.sums.step);
  return chunks_that(products / kProducts, threads, [&](int chunks) { return units() >= chunks; });
}

void LookupConv::run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const {
  const auto cut = [chunks](std::int64_t size, int at) { return size * at / chunks; };
  Span mine{0, units()}, tiles{0, groups_ * group_tiles_};
  if (mine.end >= chunks)
    mine = {cut(mine.end, chunk), cut(mine.end, chunk + 1)};
  else
    tiles = {cut(tiles.end, chunk), cut(tiles.end, chunk + 1)};
  if (!tiles.size()) return;
  for (std::int64_t first = mine.begin; first < mine.end; first += band_units_) {
    Band band{{first * unit_, std::min({first + band_units_, mine.end}) * unit_}, {}};
    band.positions.end = std::min(band.positions.end, grid_.positions());
    band.pixels = grid_.pixels(band.positions);
    for (std::int64_t group = tiles.begin / group_tiles_; group * group_tiles_ < tiles.end; ++group) {
      const Span some{std::max(tiles.begin, group * group_tiles_), std::min(tiles.end, (group + 1) * group_tiles_)};
      pack(arena + x_.offset, band, group, scratch);
      gather(band, scratch);
      for (std::int64_t begin = band.positions.begin; begin < band.positions.end; begin += block_)
        run_block(band, {begin, std::min(begin + block_, band.positions.end)}, some, arena + y_.offset, scratch);
    }
  }
}

// The sheets of a band.
void LookupConv::pack(const std::uint8_t* x, const Band& band, std::int64_t group, std::uint8_t* scratch) const {
  std::array<std::int64_t, kWidest> at;
  const PackCall call{x + group * channels_,
                      at.data(),
                      channels_,
                      sheets_.digits.data(),
                      sheets_.count(),
                      sheets_.operands,
                      operand_bits(row_),
                      scratch + scratch_.planes,
                      scratch + scratch_.sheets + kSlack,
                      pitch_};
  for (std::int64_t first = band.pixels.begin; first < band.pixels.end; first += loops_.width) {
    for (std::int64_t i = 0; i < loops_.width; ++i)
      at[static_cast<std::size_t>(i)] = grid_.pixel(std::min(first + i, band.pixels.end - 1)) * x_.channels;
    PackCall here = call;
    here.to += first - band.pixels.begin;
    loops_.pack(here);
  }
}

// The streams of a band.
void LookupConv::gather(const Band& band, std::uint8_t* scratch) const {
  auto* pieces = reinterpret_cast<LookupPiece*>(scratch + scratch_.pieces);
  const Span lines{band.positions.begin / grid_.unit(), band.positions.end / grid_.unit()};
  GatherCall call{};
  call.sheets = scratch + scratch_.sheets + kSlack;
  call.pitch = pitch_;
  call.pieces = pieces;
  call.widest = static_cast<int>(std::min<std::int64_t>(grid_.is_direct() ? loops_.width : grid_.unit(), loops_.width));
  call.pads = pads_.data();
  call.to = scratch + scratch_.index;
  call.stream_pitch = stream_pitch_;
  for (std::size_t group = 0; group < sheets_.columns.size(); ++group) {
    call.shares = sheets_.shares.data() + sheets_.first[group];
    call.share_count = static_cast<std::int64_t>(sheets_.first[group + 1] - sheets_.first[group]);
    call.piece_count =
        grid_.pieces(sheets_.columns[group], lines, lines_of(band_units_), loops_.width, band.pixels.begin, pieces);
    loops_.gather(call);
  }
}

void LookupConv::run_block(const Band& band, Span block, Span tiles, std::uint8_t* y, std::uint8_t* scratch) const {
  std::uint8_t* results = scratch + scratch_.results;
  y += block.begin * y_.channels;
  for (std::int64_t first = tiles.begin; first < tiles.end; first += kStored / kLookupOutputs) {
    const Span some{first, std::min(first + kStored / kLookupOutputs, tiles.end)};
    for (std::int64_t tile = some.begin; tile < some.end; ++tile)
      run_tile(tile, band, block, results + (tile - first) * kLookupOutputs * block_, scratch);
    const Outputs last = outputs_of(some.end - 1), begin = outputs_of(first);
    const std::int64_t outputs = last.channel + last.columns - begin.channel;
    loops_.store(results, block_, outputs, block.size(), y + begin.channel, y_.channels);
  }
}

LookupConv::Outputs LookupConv::outputs_of(std::int64_t tile) const {
  const std::int64_t first = tile % group_tiles_ * kLookupOutputs;
  return {tile / group_tiles_ * outputs_ + first, std::min(kLookupOutputs, outputs_ - first)};
}

void LookupConv::run_tile(std::int64_t tile, const Band& band, Span block, std::uint8_t* results,
                          std::uint8_t* scratch) const {
  const Outputs outputs = outputs_of(tile);
  const auto at = static_cast<std::size_t>(tile);
  const auto begin = static_cast<std::size_t>(first_run_[at]), end = static_cast<std::size_t>(first_run_[at + 1]);
  const LookupTables::Tile tables = tables_.at(at, scratch + scratch_.tables);
  const LookupResults::Tile sums{static_cast<std::size_t>(outputs.channel), outputs.columns, tables.tables,
                                 tables.places, std::span(runs_).subspan(begin, end - begin)};
  const std::uint8_t* index = scratch + scratch_.index + (block.begin - band.positions.begin);
  for (std::int64_t position = 0; position < block.size(); position += loops_.positions()) {
    const std::int64_t count = std::min(loops_.positions(), block.size() - position);
    const auto vectors = static_cast<int>(divided_up(count, loops_.width));
    results_.leave(sums, {index + position, index_at_.data()}, vectors, results + position, block_,
                   scratch + scratch_.sums);
  }
}

}  // namespace

std::unique_ptr<Step> make_lookup_conv(const ConvSpec& spec) {
  return std::make_unique<LookupConv>(spec, *lookup_loops(*spec.row));
}

}  // namespace oaq
