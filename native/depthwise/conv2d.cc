// A depthwise convolution, a row of outputs of one tile of channels at a time.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "base/aligned.h"
#include "conv/conv.h"
#include "depthwise/depthwise.h"

namespace oaq {
namespace {

int divided_up(int a, int b) { return (a + b - 1) / b; }

class Depthwise : public Step {
 public:
  explicit Depthwise(const ConvSpec& spec);

  std::size_t scratch_bytes() const override { return table_bytes_ + pixels_bytes_ + sums_bytes_; }
  void run(std::uint8_t* arena, std::uint8_t* scratch, int thread, int threads) const override;

 private:
  int channel_at(int place) const;
  void lay_out_weights(const ConvSpec& spec);
  void lay_out_taps();
  void point(const std::uint8_t* x, int row, const std::uint8_t** columns) const;
  void run_row(DepthwiseCall& call, const std::int32_t* taps, int channel, const std::uint8_t* const* columns,
               const std::uint8_t** pixels) const;

  const Row& row_;
  const DepthwiseKernel& kernel_;
  Place x_, y_;
  Window window_;
  int steps_, tiles_, table_width_;
  int first_inside_ = 0, end_inside_;
  std::size_t table_bytes_, pixels_bytes_, sums_bytes_;
  Schedule schedule_;
  AlignedVector<std::int8_t> weights_;
  AlignedVector<std::int32_t> bias_;  // (tiles, tile_n), laid out; so are the multipliers
  AlignedVector<float> scale_;
  std::vector<std::int32_t> taps_;       // per executed step, as DepthwiseCall wants them
  std::vector<std::int32_t> runs_;       // per segment
  std::vector<std::size_t> first_step_;  // executed step at which each tile starts
  AlignedVector<std::uint8_t> outside_;  // a line of zero points
  Requant requant_;
};

Depthwise::Depthwise(const ConvSpec& spec)
    : row_(*spec.row),
      kernel_(depthwise_kernel(*spec.row)),
      x_(spec.x),
      y_(spec.y),
      window_(spec.window),
      steps_(divided_up(spec.window.taps(), spec.row->sums.step)),
      tiles_(divided_up(spec.y.channels, spec.row->tile_n)),
      table_width_(spec.x.width + spec.window.padding[2] + spec.window.padding[3]),
      end_inside_(spec.y.width),
      schedule_(checked_schedule(spec, tiles_, steps_)),
      bias_(static_cast<std::size_t>(tiles_ * spec.row->tile_n), 0),
      scale_(static_cast<std::size_t>(tiles_ * spec.row->tile_n), 1.0f),
      outside_(static_cast<std::size_t>(table_width_) * static_cast<std::size_t>(spec.x.channels) + kSlack,
               static_cast<std::uint8_t>(spec.x_zero_point)),
      requant_(spec.multipliers, static_cast<std::size_t>(spec.y.channels), spec.y_zero_point, spec.clamp) {
  if (spec.bias.size() != static_cast<std::size_t>(y_.channels))
    throw std::invalid_argument(std::to_string(spec.bias.size()) + " biases for " + std::to_string(y_.channels) +
                                " channels");
  for (int tile = 0; tile < tiles_; ++tile) {
    for (int place = 0; place < row_.tile_n; ++place) {
      const int channel = tile * row_.tile_n + channel_at(place);
      if (channel >= y_.channels) continue;
      const auto to = static_cast<std::size_t>(tile * row_.tile_n + place), from = static_cast<std::size_t>(channel);
      bias_[to] = spec.bias[from];
      if (!requant_.is_fixed()) scale_[to] = *requant_.from(from).scale;
    }
  }
  lay_out_weights(spec);
  lay_out_taps();
  for (int tap = 0; tap < window_.kernel[1]; ++tap) {  // outputs whose pixels all lie on the line, one after another
    const int left = tap * window_.dilation[1] - window_.padding[2], stride = window_.stride[1];
    first_inside_ = std::max(first_inside_, left < 0 ? divided_up(-left, stride) : 0);
    const int last = x_.width - 1 - left;
    end_inside_ = std::min(end_inside_, last < 0 ? 0 : last / stride + 1);
  }
  end_inside_ = std::max(end_inside_, first_inside_);
  const auto pointers = static_cast<std::size_t>(window_.kernel[0]) * static_cast<std::size_t>(table_width_);
  table_bytes_ = (pointers * sizeof(std::uint8_t*) + kLine - 1) / kLine * kLine;
  pixels_bytes_ = (taps_.size() * sizeof(std::uint8_t*) + kLine - 1) / kLine * kLine;
  const bool needs_sums = requant_.is_fixed() || !kernel_.lanes;
  sums_bytes_ = needs_sums ? static_cast<std::size_t>(y_.width * row_.tile_n) * sizeof(std::int32_t) : 0;
}

// The channel, within its tile, whose s32 sum lies at `place`.
int Depthwise::channel_at(int place) const {
  if (!kernel_.lanes) return place;
  const int j = place / kernel_.lanes, lane = place % kernel_.lanes;
  return 16 * (lane / 4) + 4 * j + lane % 4;
}

// From (steps, tile_n, taps) to the order in which interleaved operands meet them.
void Depthwise::lay_out_weights(const ConvSpec& spec) {
  const int taps = row_.sums.step, tile = row_.tile_n;
  const auto step_values = static_cast<std::size_t>(tile * taps);
  weights_.resize(spec.packed.size() * static_cast<std::size_t>(kernel_.weight_bytes));
  // Pairs of bytes: eight channels of a lane in each of two registers; everything else: four in each of four.
  const int together = kernel_.lanes && taps == 2 && kernel_.weight_bytes == 1 ? 8 : 4;
  const int lanes = kernel_.lanes / 4;
  for (std::size_t step = 0; step < spec.packed.size(); step += step_values) {
    std::size_t to = step;
    const auto put = [&](int channel) {
      for (int tap = 0; tap < taps; ++tap, ++to) {
        const std::int8_t weight = spec.packed[step + static_cast<std::size_t>(channel * taps + tap)];
        if (kernel_.weight_bytes == 1) {
          weights_[to] = weight;
        } else {
          const std::int16_t wide = weight;
          std::memcpy(weights_.data() + 2 * to, &wide, sizeof wide);
        }
      }
    };
    if (!kernel_.lanes) {
      for (int channel = 0; channel < tile; ++channel) put(channel);
      continue;
    }
    for (int part = 0; part < 16 / together; ++part)
      for (int lane = 0; lane < lanes; ++lane)
        for (int i = 0; i < together; ++i) put(16 * lane + together * part + i);
  }
}

// Which pixels each executed step reads, as places in the table that `point` fills. A tap that only fills up a step
// reads the first tap's pixel, times zero.
void Depthwise::lay_out_taps() {
  for (const TileSchedule& tile : schedule_.tiles) {
    first_step_.push_back(taps_.size() / static_cast<std::size_t>(row_.sums.step));
    for (int segment = tile.first; segment < tile.first + tile.count; ++segment) {
      const std::int32_t* range = schedule_.segments.data() + 2 * segment;
      runs_.push_back(range[1]);
      for (int k = range[0] * row_.sums.step; k < (range[0] + range[1]) * row_.sums.step; ++k) {
        const int tap = k < window_.taps() ? k : 0;
        taps_.push_back(tap / window_.kernel[1] * table_width_ + tap % window_.kernel[1] * window_.dilation[1]);
      }
    }
  }
}

// Fills the table of pixels under the window of one row of outputs.
void Depthwise::point(const std::uint8_t* x, int row, const std::uint8_t** columns) const {
  for (int tap = 0; tap < window_.kernel[0]; ++tap) {
    const int line = row * window_.stride[0] - window_.padding[0] + tap * window_.dilation[0];
    const bool inside = line >= 0 && line < x_.height;
    const std::uint8_t* pixel = x + static_cast<std::ptrdiff_t>(line) * x_.width * x_.channels;
    for (int column = -window_.padding[2]; column < x_.width + window_.padding[3]; ++column)
      *columns++ = inside && column >= 0 && column < x_.width
                       ? pixel + static_cast<std::ptrdiff_t>(column) * x_.channels
                       : outside_.data() + static_cast<std::ptrdiff_t>(column + window_.padding[2]) * x_.channels;
  }
}

// One row of outputs of one tile: those whose window leaves the line one by one, the others together.
void Depthwise::run_row(DepthwiseCall& call, const std::int32_t* taps, int channel, const std::uint8_t* const* columns,
                        const std::uint8_t** pixels) const {
  const DepthwiseCall row = call;
  int steps = 0;
  for (int run = 0; run < call.run_count; ++run) steps += call.runs[run];
  for (int output = 0; output < y_.width; output += call.outputs) {
    const bool inside = output >= first_inside_ && output < end_inside_;
    call.outputs = inside ? end_inside_ - output : 1;
    for (int tap = 0; tap < steps * row_.sums.step; ++tap)
      pixels[tap] = columns[taps[tap] + output * window_.stride[1]] + channel;
    call.y = row.y + output * row.y_stride;
    if (row.sums) call.sums = row.sums + static_cast<std::ptrdiff_t>(output) * row_.tile_n;
    kernel_.sums(call);
  }
  call.sums = row.sums;
  call.y = row.y;
}

void Depthwise::run(std::uint8_t* arena, std::uint8_t* scratch, int thread, int threads) const {
  const std::int64_t units = std::int64_t{y_.height} * tiles_;
  auto** columns = reinterpret_cast<const std::uint8_t**>(scratch);
  auto** pixels = reinterpret_cast<const std::uint8_t**>(scratch + table_bytes_);
  DepthwiseCall call{};
  call.x = pixels;
  call.x_step = static_cast<std::ptrdiff_t>(window_.stride[1]) * x_.channels;
  call.y_stride = y_.channels;
  call.how = requant_.from(0);
  call.sums = sums_bytes_ ? reinterpret_cast<std::int32_t*>(scratch + table_bytes_ + pixels_bytes_) : nullptr;
  int pointed = -1;
  for (std::int64_t unit = units * thread / threads; unit < units * (thread + 1) / threads; ++unit) {
    const int row = static_cast<int>(unit / tiles_), tile = static_cast<int>(unit % tiles_);
    if (row != pointed) point(arena + x_.offset, row, columns), pointed = row;
    const TileSchedule& of = schedule_.tiles[static_cast<std::size_t>(tile)];
    const int first = tile * row_.tile_n;
    call.channels = std::min(row_.tile_n, y_.channels - first);
    call.weights = weights_.data() + of.packed * static_cast<std::size_t>(kernel_.weight_bytes);
    call.runs = runs_.data() + of.first;
    call.run_count = of.count;
    call.bias = bias_.data() + first;
    call.scale = scale_.data() + first;
    call.y = arena + y_.offset + static_cast<std::ptrdiff_t>(row) * y_.width * y_.channels + first;
    const std::size_t step = first_step_[static_cast<std::size_t>(tile)];
    run_row(call, taps_.data() + step * static_cast<std::size_t>(row_.sums.step), first, columns, pixels);
    if (call.sums)
      store_one_by_one(requant_, call.sums, row_.tile_n, y_.width, call.channels, static_cast<std::size_t>(first),
                       call.y, call.y_stride);
  }
}

}  // namespace

std::unique_ptr<Step> make_depthwise(const ConvSpec& spec) {
  check_window(spec.window, spec.x, spec.y);
  check_zero_point(spec.x_zero_point);
  if (spec.x.channels != spec.y.channels)
    throw std::invalid_argument("depthwise: " + std::to_string(spec.x.channels) + " channels in, " +
                                std::to_string(spec.y.channels) + " out");
  return std::make_unique<Depthwise>(spec);
}

}  // namespace oaq
