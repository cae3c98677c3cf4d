// MaxPool, AvgPool, GlobalAvgPool: which pixels lie under which window, by steps/loops.h.
//
//   maxima   u8    **exact**
//   sums     s32   of at most 2^23 values of at most 255   **exact**: refused beyond (kMostSummed)
#include <algorithm>
#include <cstring>

#include "base/aligned.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr std::int64_t kMostSummed = (std::int64_t{1} << 31) / 256;  // values of at most 255 in magnitude, in s32

std::size_t lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

// The part [begin, end) of `count` windows along an axis whose taps all lie on the tensor.
Share inside(const Window& window, int axis, std::int64_t size, std::int64_t count) {
  const std::int64_t before = window.padding[2 * axis], stride = window.stride[axis];
  const std::int64_t last = size - 1 + before - (window.kernel[axis] - 1) * window.dilation[axis];
  const std::int64_t begin = std::min(divided_up(before, stride), count);
  return {begin, last < 0 ? begin : std::clamp(last / stride + 1, begin, count)};
}

class Pool : public Step {
 public:
  Isas isas() const override { return included_in(loops_.isa); }

 protected:
  Pool(const Row& row, const Place& x, const Place& y, const Window& window)
      : loops_(step_loops(row.isa)),
        x_(x),
        y_(y),
        window_(window),
        height_(x.height / window.planes.x),
        y_height_(y.height / window.planes.y) {}

  std::int64_t line_bytes() const { return x_.width * x_.channels; }

  // Lines of the tensor under a window of this row of outputs; returns how many.
  std::int64_t lines_under(const std::uint8_t* x, std::int64_t row, const std::uint8_t** lines) const {
    const Planes& planes = window_.planes;
    const std::int64_t first = row / y_height_ * planes.stride - planes.before;
    std::int64_t count = 0;
    for (std::int64_t tap = first < 0 ? divided_up(-first, planes.dilation) : 0; tap < planes.kernel; ++tap) {
      const std::int64_t plane = first + tap * planes.dilation;
      if (plane >= planes.x) break;
      count += lines_of_plane(x + plane * height_ * line_bytes(), row % y_height_, lines + count);
    }
    return count;
  }

  std::int64_t lines_of_plane(const std::uint8_t* x, std::int64_t row, const std::uint8_t** lines) const {
    std::int64_t count = 0;
    const std::int64_t top = row * window_.stride[0] - window_.padding[0];
    for (std::int64_t i = before(top, 0); i < window_.kernel[0]; ++i) {
      const std::int64_t line = top + i * window_.dilation[0];
      if (line >= height_) break;
      lines[count++] = x + line * line_bytes();
    }
    return count;
  }

  // How many taps of an axis lie before the tensor, under a window that starts at `first`.
  std::int64_t before(std::int64_t first, int axis) const {
    return first < 0 ? divided_up(-first, window_.dilation[axis]) : 0;
  }

  const StepLoops& loops_;
  Place x_, y_;
  Window window_;
  std::int64_t height_, y_height_;  // of one plane
};

// The largest over the lines of a window, for the whole line at once, between zeros where the window is beside the
// tensor; then over the pixels of that.
class MaxPool : public Pool {
 public:
  MaxPool(const Row& row, const Place& x, const Place& y, const Window& window, Clamp clamp)
      : Pool(row, x, y, window),
        clamp_(clamp),
        left_(window.padding[2] * x.channels),
        padded_bytes_(lines(bytes_of({window.padding[2] + x.width + window.padding[3], x.channels}) + kSlack)) {}

  std::size_t scratch_bytes() const override { return padded_bytes_ + lines(places_bytes()); }

  int chunks(int threads) const override {
    return chunks_of(0.02 * static_cast<double>(window_.taps()) * static_cast<double>(y_.bytes()), threads);
  }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.height, chunk, chunks);
    auto** places = reinterpret_cast<const std::uint8_t**>(scratch + padded_bytes_);
    std::memset(scratch, 0, padded_bytes_);
    const auto channels = static_cast<std::size_t>(y_.channels);
    const auto lo = static_cast<std::uint8_t>(clamp_.lo), hi = static_cast<std::uint8_t>(clamp_.hi);
    const std::int64_t step = window_.stride[1] * x_.channels;
    const bool is_line = step == x_.channels;  // then outputs are one long pixel
    for (std::int64_t row = share.begin; row < share.end; ++row) {
      const std::int64_t count = lines_under(arena + x_.offset, row, places);
      loops_.largest({places, count, 1, 0, static_cast<std::size_t>(line_bytes()), scratch + left_}, 0, 255);
      for (std::int64_t j = 0; j < window_.kernel[1]; ++j) places[j] = scratch + j * window_.dilation[1] * x_.channels;
      std::uint8_t* y = arena + y_.offset + row * y_.width * y_.channels;
      if (is_line)
        loops_.largest({places, window_.kernel[1], 1, 0, static_cast<std::size_t>(y_.width) * channels, y}, lo, hi);
      else
        loops_.largest({places, window_.kernel[1], y_.width, step, channels, y}, lo, hi);
    }
  }

 private:
  std::size_t places_bytes() const {
    return static_cast<std::size_t>(std::max(window_.lines(), window_.kernel[1])) * sizeof(std::uint8_t*);
  }

  Clamp clamp_;
  std::int64_t left_;
  std::size_t padded_bytes_;
};

class AvgPool : public Pool {
 public:
  AvgPool(const Row& row, const Place& x, const Place& y, const Window& window, bool count_include_pad, int zero_point,
          const Output& output)
      : Pool(row, x, y, window),
        count_include_pad_(count_include_pad),
        zero_point_(zero_point),
        columns_(inside(window, 1, x.width, y.width)),
        requant_(output.multipliers, static_cast<std::size_t>(window.taps()), output.zero_point, output.clamp) {}

  std::size_t scratch_bytes() const override {
    return lines(bytes_of({window_.lines() + window_.taps(), std::int64_t{sizeof(std::uint8_t*)}}));
  }

  int chunks(int threads) const override {
    return chunks_of((0.1 + 0.03 * static_cast<double>(window_.taps())) * static_cast<double>(y_.bytes()), threads);
  }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    auto** lines_of_row = reinterpret_cast<const std::uint8_t**>(scratch);
    for (std::int64_t position = share.begin; position < share.end;) {
      const std::int64_t row = position / y_.width, column = position % y_.width;
      const std::int64_t count = lines_under(arena + x_.offset, row, lines_of_row);
      const std::int64_t last = std::min(y_.width, column + share.end - position);
      average(lines_of_row, count, {column, last}, arena + y_.offset + row * y_.width * y_.channels);
      position += last - column;
    }
  }

 private:
  // Columns of one row: one by one where the window leaves the tensor, together where it does not.
  void average(const std::uint8_t** lines_of_row, std::int64_t count, const Share& columns, std::uint8_t* y) const {
    const std::uint8_t** taps = lines_of_row + window_.lines();
    for (std::int64_t column = columns.begin; column < columns.end;) {
      const bool is_inside = column >= columns_.begin && column < columns_.end;
      const std::int64_t pixels = is_inside ? std::min(columns_.end, columns.end) - column : 1;
      const std::int64_t left = column * window_.stride[1] - window_.padding[2];
      std::int64_t values = 0;
      for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t j = before(left, 1); j < window_.kernel[1]; ++j) {
          const std::int64_t place = left + j * window_.dilation[1];
          if (place >= x_.width) break;
          taps[values++] = lines_of_row[i] + place * x_.channels;
        }
      const std::int64_t averaged = count_include_pad_ ? window_.taps() : values;
      loops_.average({taps, values, pixels, window_.stride[1] * x_.channels, static_cast<std::size_t>(y_.channels),
                      y + column * y_.channels},
                     static_cast<std::int32_t>(-values * zero_point_),
                     requant_.numbers(static_cast<std::size_t>(std::max<std::int64_t>(averaged - 1, 0))));
      column += pixels;
    }
  }

  bool count_include_pad_;
  int zero_point_;
  Share columns_;  // where the window lies inside the tensor's width
  Requant requant_;
};

// Pixels are added up a strip at a time, so that it is still in the first cache for the channels that come next.
// Several pixels of few channels are one of many.
class GlobalAvgPool : public Step {
 public:
  GlobalAvgPool(const Row& row, const Place& x, const Place& y, int zero_point, const Output& output)
      : loops_(step_loops(row.isa)),
        requant_loops_(requant_loops(row.isa)),
        x_(x),
        y_(y),
        zero_point_(zero_point),
        requant_(output.multipliers, 1, output.zero_point, output.clamp) {}

  std::size_t scratch_bytes() const override {
    return lines((static_cast<std::size_t>(std::max(y_.channels, kWide)) + 2 * kSlack) * sizeof(std::int32_t));
  }
  Isas isas() const override { return included_in(loops_.isa); }

  int chunks(int threads) const override { return chunks_of(0.03 * static_cast<double>(x_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.channels, chunk, chunks);
    const std::int64_t count = share.end - share.begin, pixels = x_.height * x_.width;  // at most kMostSummed
    if (!count) return;
    auto* sums = reinterpret_cast<std::int32_t*>(scratch);
    std::fill_n(sums, static_cast<std::size_t>(std::max(count, kWide)) + kSlack, 0);
    const std::uint8_t* x = arena + x_.offset + share.begin;
    const std::int64_t together = count == x_.channels ? std::max<std::int64_t>(kWide / count, 1) : 1;
    const std::int64_t wide = pixels / together;
    add_strips(x, together * x_.channels, wide, together == 1 ? count : together * count, sums);
    for (std::int64_t pixel = 1; pixel < together; ++pixel)
      for (std::int64_t c = 0; c < count; ++c) sums[c] += sums[pixel * count + c];
    loops_.add_up(x + wide * together * x_.channels, x_.channels, pixels - wide * together,
                  static_cast<std::size_t>(count), sums);
    for (std::int64_t c = 0; c < count; ++c) sums[c] -= static_cast<std::int32_t>(pixels) * zero_point_;
    requant_loops_.all(requant_.numbers(0), sums, static_cast<std::size_t>(count), arena + y_.offset + share.begin);
  }

 private:
  static constexpr std::int64_t kWide = 128;
  static constexpr std::int64_t kStrip = 16 * 1024;

  void add_strips(const std::uint8_t* x, std::int64_t stride, std::int64_t pixels, std::int64_t channels,
                  std::int32_t* sums) const {
    const std::int64_t strip = std::clamp<std::int64_t>(kStrip / channels, 16, 256);
    for (std::int64_t pixel = 0; pixel < pixels; pixel += strip)
      loops_.add_up(x + pixel * stride, stride, std::min(strip, pixels - pixel), static_cast<std::size_t>(channels),
                    sums);
  }

  const StepLoops& loops_;
  const RequantLoops& requant_loops_;
  Place x_, y_;
  int zero_point_;
  Requant requant_;
};

void check_pool(const Place& x, const Place& y, const Window& window) {
  check_window(window, x, y);
  if (x.channels != y.channels) refuse("input and output differ in channels");
  if (window.taps() > kMostSummed) refuse("the window is too large for s32 sums");
}

}  // namespace

std::unique_ptr<Step> make_max_pool(const Row& row, const Place& x, const Place& y, const Window& window, Clamp clamp) {
  check_pool(x, y, window);
  check_output(0, clamp);
  return std::make_unique<MaxPool>(row, x, y, window, clamp);
}

std::unique_ptr<Step> make_avg_pool(const Row& row, const Place& x, const Place& y, const Window& window,
                                    bool count_include_pad, int zero_point, const Output& output) {
  check_pool(x, y, window);
  check_zero_point(zero_point);
  if (output.multipliers.size() != static_cast<std::size_t>(window.taps()))
    refuse("one multiplier per number of values averaged is needed");
  return std::make_unique<AvgPool>(row, x, y, window, count_include_pad, zero_point, output);
}

std::unique_ptr<Step> make_global_avg_pool(const Row& row, const Place& x, const Place& y, int zero_point,
                                           const Output& output) {
  if (x.channels != y.channels || y.height != 1 || y.width != 1) refuse("the output is one value per channel");
  if (x.height * x.width > kMostSummed) refuse("the image is too large for s32 sums");
  check_zero_point(zero_point);
  return std::make_unique<GlobalAvgPool>(row, x, y, zero_point, output);
}

namespace {

std::unique_ptr<Step> read_max_pool(StepRecord& record, const Planes& planes) {
  Window window = record.fields.window();
  window.planes = planes;
  return make_max_pool(record.row, record.input(), record.y, window, record.fields.clamp());
}

std::unique_ptr<Step> read_avg_pool(StepRecord& record, const Planes& planes) {
  Window window = record.fields.window();
  window.planes = planes;
  const auto [count_include_pad, zero_point] = record.fields.ints<2>();
  return make_avg_pool(record.row, record.input(), record.y, window, count_include_pad != 0, zero_point,
                       record.fields.output());
}

}  // namespace

std::unique_ptr<Step> parse_max_pool(StepRecord& record) { return read_max_pool(record, {}); }

std::unique_ptr<Step> parse_avg_pool(StepRecord& record) { return read_avg_pool(record, {}); }

std::unique_ptr<Step> parse_max_pool_volume(StepRecord& record) {
  const Planes planes = record.fields.planes();
  return read_max_pool(record, planes);
}

std::unique_ptr<Step> parse_avg_pool_volume(StepRecord& record) {
  const Planes planes = record.fields.planes();
  return read_avg_pool(record, planes);
}

std::unique_ptr<Step> parse_global_avg_pool(StepRecord& record) {
  const int zero_point = record.fields.i32();
  return make_global_avg_pool(record.row, record.input(), record.y, zero_point, record.fields.output());
}

}  // namespace oaq
