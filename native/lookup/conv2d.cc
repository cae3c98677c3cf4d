// A convolution by tables (lookup/lookup.h), a band of positions at a time: operands become indices, indices are
// gathered for groups of positions, every tile of outputs sums them, and bytes leave sixteen outputs together.
#include <algorithm>
#include <array>
#include <cstring>
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
constexpr std::int64_t kMadeGroups = 4;          // of positions that tables are made for, at least
constexpr std::int64_t kNearBytes = 24 * 1024;   // of indices that every tile of a block finds in the first cache
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
  Choices choices() const override { return {tables_.name(), {}}; }
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
  void gather_whole();
  void find_in_place();
  void add_shares(int zero_point);
  void add_stretches();
  std::int64_t units() const { return divided_up(grid_.positions(), unit_); }
  bool has_in_place() const { return in_place_ < sheets_.columns.size(); }
  std::uint8_t* sheets_of(const Band& band, std::uint8_t* scratch) const;
  void clear_around(const Band& band, std::uint8_t* scratch) const;
  void pack(const std::uint8_t* x, const Band& band, std::int64_t group, std::uint8_t* scratch) const;
  std::int64_t lines_of(std::int64_t units) const;
  std::int64_t stream_bytes(std::int64_t units) const;
  std::int64_t most_pieces() const;
  bool is_whole(const Band& band) const { return !whole_pieces_.empty() && band.positions.size() == grid_.positions(); }
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
  Schedule schedule_;
  std::vector<LookupStretch> stretches_;
  std::vector<std::size_t> first_stretch_;  // of each tile; at last, how many there are
  std::vector<LookupShare> shares_;
  std::vector<bool> is_plain_;  // of each group of columns: GatherCall::are_plain
  // The group of columns whose streams are the sheets, if there is one, and its first stream; else how many there are.
  std::size_t in_place_ = 0;
  std::int64_t in_place_stream_ = 0;
  std::array<std::int64_t, kWidest> in_order_{};  // bytes from a pixel to those that follow it
  // Of a band of all positions, if there is one: its pixels, and the pieces of each group of columns.
  Span whole_pixels_{};
  std::vector<std::vector<LookupPiece>> whole_pieces_;
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
  for (std::size_t i = 0; i < kWidest; ++i) in_order_[i] = static_cast<std::int64_t>(i) * x_.channels;
  in_place_ = sheets_.columns.size();
  if (spec.x_zero_point == 0) find_in_place();
  place_scratch();
  add_shares(spec.x_zero_point);
  add_stretches();
  if (band_units_ == units()) gather_whole();
}

// Lines of outputs in so many units, or positions where there are no lines.
std::int64_t LookupConv::lines_of(std::int64_t units) const { return units * unit_ / grid_.unit(); }

// Indices of a stream for so many units.
std::int64_t LookupConv::stream_bytes(std::int64_t units) const {
  const std::int64_t lines = grid_.is_direct() ? lines_of(units) : grid_.stream_lines(lines_of(units));
  return static_cast<std::int64_t>(bytes_of({lines, grid_.unit()}));
}

// Under a column of the window that sees pixels where outputs lie, sheets are streams: they are packed where those lie,
// and nothing is gathered. Zero points have index 0.
void LookupConv::find_in_place() {
  for (std::size_t group = 0; group < sheets_.columns.size(); ++group) {
    const std::span<const Sheets::Share> shares(sheets_.shares.data() + sheets_.first[group],
                                                sheets_.first[group + 1] - sheets_.first[group]);
    bool are_sheets =
        grid_.is_in_place(sheets_.columns[group]) && static_cast<std::int64_t>(shares.size()) == sheets_.count();
    for (std::size_t i = 0; are_sheets && i < shares.size(); ++i) {
      const auto place = static_cast<std::int32_t>(i);
      are_sheets = shares[i].is_first && shares[i].sheet == place && shares[i].stream == shares[0].stream + place;
    }
    // A stream that another tap adds to is no sheet.
    for (const Sheets::Share& share : sheets_.shares)
      are_sheets = are_sheets && (share.is_first || share.stream < shares[0].stream ||
                                  share.stream >= shares[0].stream + sheets_.count());
    if (!are_sheets) continue;
    in_place_ = group, in_place_stream_ = shares[0].stream;
    return;
  }
}

// Where the sheets of a band begin.
std::uint8_t* LookupConv::sheets_of(const Band& band, std::uint8_t* scratch) const {
  if (!has_in_place()) return scratch + scratch_.sheets + kSlack;
  std::uint8_t* first = scratch + scratch_.index + in_place_stream_ * stream_pitch_;
  return band.pixels.size() ? first + grid_.before(band.positions.begin / grid_.unit(), band.pixels) : first;
}

// Of streams that are sheets, what lies around the tensor's pixels.
void LookupConv::clear_around(const Band& band, std::uint8_t* scratch) const {
  const std::int64_t size = grid_.stream_lines(band.positions.size() / grid_.unit()) * grid_.unit();
  std::uint8_t* stream = scratch + scratch_.index + in_place_stream_ * stream_pitch_;
  const auto before = static_cast<std::size_t>(sheets_of(band, scratch) - stream);
  const auto end = before + static_cast<std::size_t>(band.pixels.size());
  for (std::int64_t sheet = 0; sheet < sheets_.count(); ++sheet, stream += stream_pitch_) {
    std::memset(stream, 0, before);
    std::memset(stream + end, 0, static_cast<std::size_t>(size) - end);
  }
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
  const std::int64_t fitting = kNearBytes / (sheets_.streams * group);
  block_ =
      std::min(std::max(tables_.are_kept() ? 1 : kMadeGroups, fitting), divided_up(band_units_ * unit_, group)) * group;
  pitch_ = divided_up(grid_.most_pixels(lines_of(band_units_)), width) * width;
  constexpr auto kLines = static_cast<std::int64_t>(kLine);
  stream_pitch_ = (divided_up(stream_bytes(band_units_) + kLines, kLines) | 1) * kLines;  // odd: in all sets of a cache
  if (has_in_place()) pitch_ = stream_pitch_;
  std::size_t at = 0;
  const auto place = [&at](std::size_t bytes) {
    const std::size_t begin = at;
    at += bytes;
    if (at > static_cast<std::size_t>(kMostBytes)) bytes_of({kMostBytes, 2});
    return begin;
  };
  scratch_.planes = place(lines({divided_up(channels_, 16) * 16 + 1, width}));
  scratch_.sheets = place(has_in_place() ? 0 : lines({sheets, pitch_}) + 2 * kSlack);
  scratch_.pieces = place(lines({most_pieces(), sizeof(LookupPiece)}));
  scratch_.index = place(lines({sheets_.streams, stream_pitch_}) + kSlack);
  scratch_.tables = place(lines({static_cast<std::int64_t>(tables_.scratch_bytes())}));
  scratch_.sums = place(results_.scratch_bytes());
  scratch_.results = place(lines({kStored, block_}) + kSlack);
  scratch_.all = at;
}

void LookupConv::add_shares(int zero_point) {
  const int bits = operand_bits(row_), operands = sheets_.operands;
  for (const Sheets::Share& share : sheets_.shares) {
    unsigned pad = 0;
    for (int i = 0; i < operands; ++i)
      if (sheets_.digits[static_cast<std::size_t>(std::int64_t{share.sheet} * operands + i)])
        pad |= static_cast<unsigned>(zero_point) << (bits * i);
    shares_.push_back(
        {share.stream * stream_pitch_, share.sheet * pitch_, static_cast<std::uint8_t>(pad), share.is_first});
  }
  for (std::size_t group = 0; group < sheets_.columns.size(); ++group)
    is_plain_.push_back(std::all_of(shares_.begin() + static_cast<std::ptrdiff_t>(sheets_.first[group]),
                                    shares_.begin() + static_cast<std::ptrdiff_t>(sheets_.first[group + 1]),
                                    [](const LookupShare& share) { return share.is_first && share.pad == 0; }));
}

void LookupConv::gather_whole() {
  whole_pixels_ = grid_.pixels({0, grid_.positions()});
  const Span lines{0, grid_.positions() / grid_.unit()};
  for (const Grid::Columns& columns : sheets_.columns) {
    std::vector<LookupPiece> pieces(static_cast<std::size_t>(most_pieces()));
    const std::int64_t count =
        grid_.pieces(columns, lines, lines.end, loops_.width, whole_pixels_.begin, pieces.data());
    pieces.resize(static_cast<std::size_t>(count));
    whole_pieces_.push_back(std::move(pieces));
  }
}

// Of a group of columns in a band.
std::int64_t LookupConv::most_pieces() const {
  return divided_up(stream_bytes(band_units_), grid_.unit()) * divided_up(grid_.unit(), loops_.width);
}

// Runs as stretches of steps whose indices lie equally far apart.
void LookupConv::add_stretches() {
  const auto index_at = [this](std::int32_t at) {
    const Sheets::Step& step = sheets_.steps[static_cast<std::size_t>(at)];
    return step.stream * stream_pitch_ + grid_.first_line(step.tap_line, lines_of(band_units_)) * y_.width;
  };
  for (const TileSchedule& tile : schedule_.tiles) {
    first_stretch_.push_back(stretches_.size());
    for (auto run = static_cast<std::size_t>(tile.first); run < static_cast<std::size_t>(tile.first + tile.count);
         ++run) {
      const std::int32_t end = schedule_.segments[2 * run] + schedule_.segments[2 * run + 1];
      for (std::int32_t step = schedule_.segments[2 * run]; step < end;) {
        LookupStretch stretch{index_at(step), 0, 1, 0};
        if (step + 1 < end) stretch.apart = index_at(step + 1) - stretch.at;
        while (step + stretch.steps < end &&
               index_at(step + stretch.steps) == stretch.at + stretch.apart * stretch.steps)
          ++stretch.steps;
        step += stretch.steps;
        stretch.ends_run = step == end;
        stretches_.push_back(stretch);
      }
    }
  }
  first_stretch_.push_back(stretches_.size());
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
    band.pixels = is_whole(band) ? whole_pixels_ : grid_.pixels(band.positions);
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
                      sheets_.are_pairs(channels_),
                      false,
                      channels_,
                      sheets_.digits.data(),
                      sheets_.rows.data(),
                      static_cast<std::int64_t>(sheets_.rows.size()),
                      sheets_.operands,
                      operand_bits(row_),
                      scratch + scratch_.planes,
                      sheets_of(band, scratch),
                      pitch_};
  for (std::int64_t first = band.pixels.begin; first < band.pixels.end; first += loops_.width) {
    PackCall here = call;
    here.to += first - band.pixels.begin;
    if (grid_.is_in_order() && first + loops_.width <= band.pixels.end) {
      here.x += first * x_.channels;
      here.at = in_order_.data();
      here.are_sixteens = x_.channels == 16;
    } else {
      grid_.find_pixels(first, std::min(first + loops_.width, band.pixels.end), loops_.width, x_.channels, at.data());
    }
    loops_.pack(here);
  }
  if (has_in_place()) clear_around(band, scratch);
}

// The streams of a band.
void LookupConv::gather(const Band& band, std::uint8_t* scratch) const {
  auto* pieces = reinterpret_cast<LookupPiece*>(scratch + scratch_.pieces);
  const Span lines{band.positions.begin / grid_.unit(), band.positions.end / grid_.unit()};
  GatherCall call{};
  call.sheets = sheets_of(band, scratch);
  call.pieces = pieces;
  call.widest =
      static_cast<int>(std::min<std::int64_t>(grid_.is_direct() ? loops_.width : grid_.longest_piece(), loops_.width));
  call.to = scratch + scratch_.index;
  for (std::size_t group = 0; group < sheets_.columns.size(); ++group) {
    if (group == in_place_) continue;
    call.shares = shares_.data() + sheets_.first[group];
    call.share_count = static_cast<std::int64_t>(sheets_.first[group + 1] - sheets_.first[group]);
    call.are_plain = is_plain_[group];
    if (is_whole(band)) {
      call.pieces = whole_pieces_[group].data();
      call.piece_count = static_cast<std::int64_t>(whole_pieces_[group].size());
    } else {
      call.piece_count =
          grid_.pieces(sheets_.columns[group], lines, lines_of(band_units_), loops_.width, band.pixels.begin, pieces);
    }
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
  const std::size_t begin = first_stretch_[at], end = first_stretch_[at + 1];
  const LookupResults::Tile sums{static_cast<std::size_t>(outputs.channel), outputs.columns, schedule_.tiles[at].count,
                                 tables_.at(at, scratch + scratch_.tables),
                                 std::span(stretches_).subspan(begin, end - begin)};
  const std::uint8_t* index = scratch + scratch_.index + (block.begin - band.positions.begin);
  results_.leave(sums, index, block.size(), results, block_, scratch + scratch_.sums);
}

}  // namespace

std::unique_ptr<Step> make_lookup_conv(const ConvSpec& spec) {
  return std::make_unique<LookupConv>(spec, *lookup_loops(*spec.row));
}

}  // namespace oaq
