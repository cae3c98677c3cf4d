// A depthwise convolution, a line of outputs of one tile of channels at a time.
//
// Sums are made by the row's functions (depthwise.h says in which registers), and by requantize/loops.h become bytes
// where those functions leave s32. This file gathers operands and computes offsets in 64 bits.
#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "base/aligned.h"
#include "base/copy.h"
#include "base/sizes.h"
#include "conv/conv.h"
#include "depthwise/depthwise.h"
#include "plan/read_conv.h"
#include "requantize/as_floats.h"
#include "requantize/in_words.h"

namespace oaq {
namespace {

constexpr std::int64_t kBandBytes =
    256 * 1024;                    // of input: it stays in the second cache while tile after tile is computed
constexpr int kTilesPerChunk = 4;  // with fewer, chunks are of rows instead
// Products in a nanosecond of one thread, about.
constexpr double kVectorProducts = 16, kScalarProducts = 0.5;

class Depthwise : public Step {
 public:
  explicit Depthwise(const ConvSpec& spec);

  std::size_t scratch_bytes() const override { return lines_bytes_ + pixels_bytes_ + results_bytes_; }
  Choices choices() const override { return {"gathered", count_ways(ways_)}; }
  Isas isas() const override { return included_in(row_.isa); }
  int chunks(int threads) const override;
  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override;

 private:
  struct Part {  // what one chunk computes
    std::int64_t row_begin, row_end, tile_begin, tile_end;
  };
  Part part(int chunk, int chunks) const;
  bool shares_tiles(int chunks) const { return tiles_ >= std::int64_t{chunks} * kTilesPerChunk; }
  void choose_ways(const ConvSpec& spec);
  void lay_out_weights(const ConvSpec& spec);
  void lay_out_taps();
  bool in_order() const;
  bool is_inside(std::int64_t line) const { return line >= 0 && line < x_.height; }
  void gather(const std::uint8_t* x, std::int64_t line, std::int64_t channel, std::uint8_t* to) const;
  void point_at(const std::uint8_t* const* lines, std::int64_t tile, const std::uint8_t** pixels) const;
  void run_tile(DepthwiseCall& call, const Part& part, std::uint8_t* arena, std::uint8_t* scratch) const;

  const Row& row_;
  const DepthwiseKernel& kernel_;
  Place x_, y_;
  Window window_;
  std::uint8_t zero_point_;
  std::int64_t steps_, tiles_;
  std::int64_t line_bytes_, reach_, ring_lines_, band_rows_;
  bool keeps_lines_;  // for windows below
  std::size_t lines_bytes_, pixels_bytes_, results_bytes_;
  bool needs_sums_;
  Schedule schedule_;
  AlignedVector<std::int8_t> weights_;
  AlignedVector<std::int32_t> bias_;     // (tiles, tile_n), laid out; so are the multipliers
  AlignedVector<float> scale_;           // (tiles, 2, tile_n): what floats need added beside them
  std::vector<std::int32_t> taps_;       // tap of each executed step's operands
  std::vector<std::int32_t> runs_;       // per segment
  std::vector<std::size_t> first_step_;  // executed step at which each tile starts
  Requant requant_;
  DepthwiseSums square_;               // or null
  AlignedVector<std::int16_t> words_;  // (tiles, 2, tile_n), laid out: multipliers and biases of words
  std::vector<Way> ways_;              // per tile
};

Depthwise::Depthwise(const ConvSpec& spec)
    : row_(*spec.row),
      kernel_(depthwise_kernel(*spec.row)),
      x_(spec.x),
      y_(spec.y),
      window_(spec.window),
      zero_point_(static_cast<std::uint8_t>(spec.x_zero_point)),
      steps_(divided_up(spec.window.taps(), spec.row->sums.step)),
      tiles_(divided_up(spec.y.channels, spec.row->tile_n)),
      line_bytes_((spec.x.width + spec.window.padding[2] + spec.window.padding[3]) * spec.row->tile_n),
      reach_((spec.window.kernel[0] - 1) * spec.window.dilation[0] + 1),
      schedule_(checked_schedule(spec, tiles_, steps_)),
      bias_(bytes_of({tiles_, spec.row->tile_n}), 0),
      scale_(bytes_of({2, tiles_, spec.row->tile_n}), 0.5f),
      requant_(spec.multipliers, static_cast<std::size_t>(spec.y.channels), spec.y_zero_point, spec.clamp) {
  if (spec.bias.size() != static_cast<std::size_t>(y_.channels))
    throw std::invalid_argument(std::to_string(spec.bias.size()) + " biases for " + std::to_string(y_.channels) +
                                " channels");
  for (std::int64_t tile = 0; tile < tiles_; ++tile) {
    for (int place = 0; place < row_.tile_n; ++place) {
      const std::int64_t channel = tile * row_.tile_n + sum_channel(row_, place);
      if (channel >= y_.channels) continue;
      const auto to = static_cast<std::size_t>(tile * row_.tile_n + place), from = static_cast<std::size_t>(channel);
      bias_[to] = spec.bias[from];
      if (requant_.is_fixed()) continue;
      float* scale = scale_.data() + to + static_cast<std::size_t>(tile * row_.tile_n);
      scale[0] = *requant_.from(from).scale;
      scale[row_.tile_n] = -kFloatValue * scale[0];
    }
  }
  lay_out_weights(spec);
  lay_out_taps();
  const bool is_square = window_.kernel[0] == window_.kernel[1] && window_.dilation[1] == 1;
  square_ = is_square && in_order() ? kernel_.square(static_cast<int>(window_.kernel[0])) : nullptr;
  ways_.assign(schedule_.tiles.size(), Way::kGeneral);
  if (square_ && requant_.is_below_one()) choose_ways(spec);
  // Wide gaps between taps are not gathered where that is more than gathering every window's own lines.
  keeps_lines_ = (y_.height - 1) * window_.stride[0] + reach_ <= y_.height * window_.kernel[0];
  ring_lines_ = std::min(keeps_lines_ ? reach_ : window_.kernel[0], x_.height);
  const std::int64_t line = x_.width * x_.channels * window_.stride[0];
  band_rows_ = std::max(divided_up(ring_lines_, window_.stride[0]),  // fewer would gather most lines again and again
                        (kBandBytes - (ring_lines_ - window_.stride[0]) * x_.width * x_.channels) / line);
  const auto whole_lines = [](std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; };
  lines_bytes_ = whole_lines(bytes_of({ring_lines_ + 1, line_bytes_}) + kSlack);
  pixels_bytes_ = whole_lines((std::max(taps_.size(), std::size_t{8}) + static_cast<std::size_t>(window_.kernel[0])) *
                              sizeof(std::uint8_t*));
  needs_sums_ = !requant_.is_below_one() || !row_.leaving.as_bytes;
  results_bytes_ = bytes_of({y_.width, row_.tile_n, needs_sums_ ? std::int64_t{sizeof(std::int32_t)} : 1});
}

void Depthwise::choose_ways(const ConvSpec& spec) {
  const auto tile_n = static_cast<std::size_t>(row_.tile_n);
  const std::vector<Reach> all = reaches(spec, schedule_);
  const bool is_narrow = row_.sums.bits < 32;
  words_.assign(2 * bias_.size(), 0);
  std::vector<std::int32_t> bias(tile_n);
  for (std::size_t tile = 0; tile < ways_.size(); ++tile) {
    const std::size_t first = tile * tile_n, columns = std::min(tile_n, spec.bias.size() - first);
    std::fill(bias.begin(), bias.end(), 0);
    std::copy_n(spec.bias.begin() + static_cast<std::ptrdiff_t>(first), columns, bias.begin());
    const TileSums sums{first, columns, bias, {all.data() + first, tile_n}};
    const auto words = word_multipliers(requant_, sums);
    // A bias below s16 leaves nothing above 0, whatever is added; so does the least one.
    const std::int32_t least = requant_.starts_from_zero() ? std::numeric_limits<std::int32_t>::min() : -kMostWord - 1;
    const auto fits_in_words = [least](std::int32_t value) { return value >= least && value <= kMostWord; };
    const bool fits = std::all_of(bias.begin(), bias.end(), fits_in_words);
    const bool is_one_run = schedule_.tiles[tile].count == 1;  // sums leave their register only once
    if (!words.empty() && (!is_narrow || (fits && is_one_run))) {
      ways_[tile] = way_of_words(requant_);
      std::int16_t* to = words_.data() + 2 * first;
      for (std::size_t at = 0; at < tile_n; ++at) {
        const auto channel = static_cast<std::size_t>(word_channel(row_, static_cast<int>(at)));
        to[at] = words[channel];
        to[tile_n + at] = static_cast<std::int16_t>(std::max<std::int32_t>(bias[channel], -kMostWord - 1));
      }
    } else if (const auto floats = float_biases(requant_, sums); !floats.empty()) {
      ways_[tile] = Way::kFloats;
      for (std::size_t place = 0; place < tile_n; ++place)
        bias_[first + place] = floats[static_cast<std::size_t>(sum_channel(row_, static_cast<int>(place)))];
    }
  }
}

// From (steps, tile_n, taps) to the order in which interleaved operands meet them.
void Depthwise::lay_out_weights(const ConvSpec& spec) {
  const int taps = row_.sums.step, tile = row_.tile_n;
  const auto step_values = static_cast<std::size_t>(tile * taps);
  weights_.resize(spec.packed.size() * static_cast<std::size_t>(kernel_.weight_bytes));
  for (std::size_t step = 0; step < spec.packed.size(); step += step_values) {
    std::size_t to = step;
    for (int place = 0; place < tile; ++place) {
      const int channel = weight_channel(row_, place);
      for (int tap = 0; tap < taps; ++tap, ++to) {
        const std::int8_t weight = spec.packed[step + static_cast<std::size_t>(channel * taps + tap)];
        if (kernel_.weight_bytes == 1) {
          weights_[to] = weight;
        } else {
          const std::int16_t wide = weight;
          std::memcpy(weights_.data() + 2 * to, &wide, sizeof wide);
        }
      }
    }
  }
}

// Which taps each executed step reads. A tap that only fills up a step reads the first tap's pixel, times zero.
void Depthwise::lay_out_taps() {
  for (const TileSchedule& tile : schedule_.tiles) {
    first_step_.push_back(taps_.size() / static_cast<std::size_t>(row_.sums.step));
    for (int segment = tile.first; segment < tile.first + tile.count; ++segment) {
      const std::int32_t* range = schedule_.segments.data() + 2 * segment;
      runs_.push_back(range[1]);
      for (std::int64_t k = std::int64_t{range[0]} * row_.sums.step, end = k + std::int64_t{range[1]} * row_.sums.step;
           k < end; ++k)
        taps_.push_back(k < window_.taps() ? static_cast<std::int32_t>(k) : 0);
    }
  }
}

// Whether every tile executes each step once, first to last.
bool Depthwise::in_order() const {
  for (const TileSchedule& tile : schedule_.tiles) {
    int next = 0;
    for (int segment = tile.first; segment < tile.first + tile.count; ++segment) {
      const std::int32_t* range = schedule_.segments.data() + 2 * segment;
      if (range[0] != next) return false;
      next += range[1];
    }
    if (next != steps_) return false;
  }
  return true;
}

// Chunks of rows gather the lines again that the window shares, so rows are not cut thin.
int Depthwise::chunks(int threads) const {
  const double products = static_cast<double>(y_.bytes()) * static_cast<double>(window_.taps());
  const double nanoseconds = products / (row_.isa == Isa::kScalar ? kScalarProducts : kVectorProducts);
  return chunks_that(nanoseconds, threads,
                     [&](int chunks) { return shares_tiles(chunks) || y_.height / chunks >= 2 * window_.kernel[0]; });
}

Depthwise::Part Depthwise::part(int chunk, int chunks) const {
  const auto cut = [&](std::int64_t size, int c) { return size * c / chunks; };
  if (shares_tiles(chunks)) return {0, y_.height, cut(tiles_, chunk), cut(tiles_, chunk + 1)};
  return {cut(y_.height, chunk), cut(y_.height, chunk + 1), 0, tiles_};
}

// One line of the image, a tile of channels wide, between the zero points to both sides.
void Depthwise::gather(const std::uint8_t* x, std::int64_t line, std::int64_t channel, std::uint8_t* to) const {
  kernel_.copy(x + line * x_.width * x_.channels + channel, x_.channels, x_.width,
               to + window_.padding[2] * row_.tile_n);
}

// The first output's pixels: on each line of a square window, else under each tap of each step.
void Depthwise::point_at(const std::uint8_t* const* lines, std::int64_t tile, const std::uint8_t** pixels) const {
  if (square_) {
    std::copy_n(lines, window_.kernel[0], pixels);
    return;
  }
  const auto at = static_cast<std::size_t>(tile), step = static_cast<std::size_t>(row_.sums.step);
  const std::size_t end = at + 1 < first_step_.size() ? first_step_[at + 1] * step : taps_.size();
  for (std::size_t i = first_step_[at] * step; i < end; ++i)
    *pixels++ = lines[taps_[i] / window_.kernel[1]] + taps_[i] % window_.kernel[1] * window_.dilation[1] * row_.tile_n;
}

// A tile's lines are gathered as the window comes to them, into a ring that holds one window; what lies above or below
// the image is one line of zero points behind the ring.
void Depthwise::run_tile(DepthwiseCall& call, const Part& part, std::uint8_t* arena, std::uint8_t* scratch) const {
  const std::int64_t tile = part.tile_begin;
  const auto** pixels = reinterpret_cast<const std::uint8_t**>(scratch + lines_bytes_);
  const auto** lines = pixels + std::max(taps_.size(), std::size_t{8});
  const TileSchedule& of = schedule_.tiles[static_cast<std::size_t>(tile)];
  const std::int64_t first = tile * row_.tile_n;
  const auto channels = static_cast<int>(std::min<std::int64_t>(row_.tile_n, y_.channels - first));
  call.weights = weights_.data() + of.packed * static_cast<std::size_t>(kernel_.weight_bytes);
  call.runs = runs_.data() + of.first;
  call.run_count = of.count;
  call.bias = bias_.data() + first;
  call.scale = scale_.data() + 2 * first;
  call.way = ways_[static_cast<std::size_t>(tile)];
  call.words = is_in_words(call.way) ? words_.data() + 2 * first : nullptr;
  call.y_stride = channels < row_.tile_n ? row_.tile_n : y_.channels;
  int steps = 0;
  call.ends = 0;
  for (int run = 0; run < of.count; ++run) {
    steps += call.runs[run];
    if (square_) call.ends |= std::int64_t{1} << (steps - 1);
  }
  std::uint8_t* results = channels < row_.tile_n ? scratch + lines_bytes_ + pixels_bytes_ : nullptr;
  const std::uint8_t *x = arena + x_.offset, *blank = scratch + ring_lines_ * line_bytes_;
  const bool all_lines = ring_lines_ < window_.kernel[0];  // of the image have a place
  for (std::int64_t row = part.row_begin, next = 0; row < part.row_end; ++row) {
    const std::int64_t top = row * window_.stride[0] - window_.padding[0];
    if (keeps_lines_)
      for (next = std::max({next, top, std::int64_t{0}}); next < std::min(top + reach_, x_.height); ++next)
        gather(x, next, first, scratch + next % ring_lines_ * line_bytes_);
    for (std::int64_t i = 0; i < window_.kernel[0]; ++i) {
      const std::int64_t line = top + i * window_.dilation[0];
      lines[i] = blank;
      if (!is_inside(line)) continue;
      std::uint8_t* slot = scratch + (keeps_lines_ || all_lines ? line % ring_lines_ : i) * line_bytes_;
      if (!keeps_lines_) gather(x, line, first, slot);
      lines[i] = slot;
    }
    point_at(lines, tile, pixels);
    std::uint8_t* y = arena + y_.offset + row * y_.width * y_.channels + first;
    call.y = results ? results : y;
    (square_ ? square_ : kernel_.any)(&call);
    if (call.sums)
      requant_.leave(row_.isa, static_cast<std::size_t>(first), {call.sums, row_.tile_n, y_.width, channels}, y,
                     y_.channels);
    else if (results)
      for (std::int64_t output = 0; output < y_.width; ++output, y += y_.channels)
        copy_short(y, results + output * row_.tile_n, channels);
  }
}

void Depthwise::run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const {
  const Part mine = part(chunk, chunks);
  std::memset(scratch, zero_point_, lines_bytes_);  // what lies beside the image stays so
  DepthwiseCall call{};
  call.x = reinterpret_cast<const std::uint8_t**>(scratch + lines_bytes_);
  call.x_step = window_.stride[1] * row_.tile_n;
  call.outputs = y_.width;
  const FloatRequant requant = requant_.from(0);
  call.zero = requant.zero;
  call.lo = requant.clamp_lo;
  call.hi = requant.clamp_hi;
  call.sums = needs_sums_ ? reinterpret_cast<std::int32_t*>(scratch + lines_bytes_ + pixels_bytes_) : nullptr;
  for (std::int64_t row = mine.row_begin; row < mine.row_end; row += band_rows_)
    for (std::int64_t tile = mine.tile_begin; tile < mine.tile_end; ++tile)
      run_tile(call, {row, std::min(row + band_rows_, mine.row_end), tile, tile + 1}, arena, scratch);
}

}  // namespace

std::unique_ptr<Step> make_depthwise(const ConvSpec& spec) {
  check_window(spec.window, spec.x, spec.y);
  if (spec.window.is_volume()) throw std::invalid_argument("depthwise: images have rows of their own, volumes none");
  check_zero_point(spec.x_zero_point);
  if (spec.x.channels != spec.y.channels)
    throw std::invalid_argument("depthwise: " + std::to_string(spec.x.channels) + " channels in, " +
                                std::to_string(spec.y.channels) + " out");
  return std::make_unique<Depthwise>(spec);
}

std::unique_ptr<Step> parse_depthwise(StepRecord& record) { return make_depthwise(read_conv(record)); }

}  // namespace oaq
