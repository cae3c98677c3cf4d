// MaxPool, AvgPool, GlobalAvgPool. Sums run along channels, so that compilers use whole registers.
//
//   maxima   u8    **exact**
//   sums     s32   of at most 2^23 values of at most 255   **exact**: refused beyond (kMostSummed)
#include <algorithm>
#include <cstring>

#include "base/aligned.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr std::int64_t kMostSummed = (std::int64_t{1} << 31) / 256;  // values of at most 255 in magnitude, in s32

std::size_t lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

class Pool : public Step {
 protected:
  Pool(const Place& x, const Place& y, const Window& window) : x_(x), y_(y), window_(window) {}

  // Calls `visit` with every pixel of the tensor under the window at a position; returns how many taps of the window
  // lie on the tensor or on its padding.
  template <typename Visit>
  int under_window(const std::uint8_t* x, std::int64_t position, Visit visit) const {
    const std::int64_t row = position / y_.width, column = position % y_.width;
    const std::int64_t top = row * window_.stride[0] - window_.padding[0];
    const std::int64_t left = column * window_.stride[1] - window_.padding[2];
    for (std::int64_t i = before(top, 0); i < window_.kernel[0]; ++i) {
      const std::int64_t line = top + i * window_.dilation[0];
      if (line >= x_.height) break;
      for (std::int64_t j = before(left, 1); j < window_.kernel[1]; ++j) {
        const std::int64_t place = left + j * window_.dilation[1];
        if (place >= x_.width) break;
        visit(x + (line * x_.width + place) * x_.channels);
      }
    }
    return static_cast<int>(window_.taps());
  }

  // How many taps of an axis lie before the tensor, under a window that starts at `first`.
  std::int64_t before(std::int64_t first, int axis) const {
    return first < 0 ? divided_up(-first, window_.dilation[axis]) : 0;
  }

  Place x_, y_;
  Window window_;
};

void raise_to(std::uint8_t* __restrict y, const std::uint8_t* __restrict x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = std::max(y[i], x[i]);
}

// The largest of what lies at each of `count` places, value by value; 0 where there is none. Three are read at once:
// nearly every pool has three lines of three pixels.
void largest(const std::uint8_t* const* x, int count, std::size_t bytes, std::uint8_t* __restrict y) {
  if (!count) {
    std::memset(y, 0, bytes);
    return;
  }
  const std::uint8_t *a = x[0], *b = x[count > 1 ? 1 : 0], *c = x[count > 2 ? 2 : 0];
  for (std::size_t i = 0; i < bytes; ++i) y[i] = std::max(std::max(a[i], b[i]), c[i]);
  for (int place = 3; place < count; ++place) raise_to(y, x[place], bytes);
}

// The largest over the lines of a window, for the whole line at once; then over the pixels of that.
class MaxPool : public Pool {
 public:
  MaxPool(const Place& x, const Place& y, const Window& window, Clamp clamp) : Pool(x, y, window), clamp_(clamp) {}

  std::size_t scratch_bytes() const override { return lines(line_bytes()) + lines(places_bytes()); }

  int chunks(int threads) const override {
    return chunks_of(0.1 * static_cast<double>(window_.taps()) * static_cast<double>(y_.bytes()), threads);
  }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.height, chunk, chunks);
    auto** places = reinterpret_cast<const std::uint8_t**>(scratch + lines(line_bytes()));
    for (std::int64_t row = share.begin; row < share.end; ++row) {
      over_lines(arena + x_.offset, row, places, scratch);
      over_pixels(scratch, places, arena + y_.offset + row * y_.width * y_.channels);
    }
  }

 private:
  std::size_t line_bytes() const { return static_cast<std::size_t>(x_.width) * static_cast<std::size_t>(x_.channels); }
  std::size_t places_bytes() const {
    return static_cast<std::size_t>(std::max(window_.kernel[0], window_.kernel[1])) * sizeof(std::uint8_t*);
  }

  void over_lines(const std::uint8_t* x, std::int64_t row, const std::uint8_t** places, std::uint8_t* most) const {
    int count = 0;
    for (std::int64_t i = 0; i < window_.kernel[0]; ++i) {
      const std::int64_t line = row * window_.stride[0] - window_.padding[0] + i * window_.dilation[0];
      if (line >= 0 && line < x_.height) places[count++] = x + static_cast<std::size_t>(line) * line_bytes();
    }
    largest(places, count, line_bytes(), most);
  }

  void over_pixels(const std::uint8_t* most, const std::uint8_t** places, std::uint8_t* y) const {
    const auto channels = static_cast<std::size_t>(x_.channels);
    const auto lo = static_cast<std::uint8_t>(clamp_.lo), hi = static_cast<std::uint8_t>(clamp_.hi);
    for (std::int64_t column = 0; column < y_.width; ++column, y += channels) {
      int count = 0;
      for (std::int64_t j = 0; j < window_.kernel[1]; ++j) {
        const std::int64_t place = column * window_.stride[1] - window_.padding[2] + j * window_.dilation[1];
        if (place >= 0 && place < x_.width) places[count++] = most + static_cast<std::size_t>(place) * channels;
      }
      largest(places, count, channels, y);
      if (lo != 0 || hi != 255)
        for (std::size_t c = 0; c < channels; ++c) y[c] = std::clamp(y[c], lo, hi);
    }
  }

  Clamp clamp_;
};

class AvgPool : public Pool {
 public:
  AvgPool(const Place& x, const Place& y, const Window& window, bool count_include_pad, int zero_point,
          const Output& output)
      : Pool(x, y, window),
        count_include_pad_(count_include_pad),
        zero_point_(zero_point),
        requant_(output.multipliers, static_cast<std::size_t>(window.taps()), output.zero_point, output.clamp) {}

  std::size_t scratch_bytes() const override {
    return lines(static_cast<std::size_t>(y_.channels) * sizeof(std::int32_t));
  }

  int chunks(int threads) const override {
    return chunks_of((2.0 + 0.3 * static_cast<double>(window_.taps())) * static_cast<double>(y_.bytes()), threads);
  }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    auto* sums = reinterpret_cast<std::int32_t*>(scratch);
    const auto channels = static_cast<std::size_t>(y_.channels);
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      std::fill_n(sums, channels, 0);
      int inside = 0;
      const int taps = under_window(arena + x_.offset, position, [&](const std::uint8_t* x) {
        for (std::size_t c = 0; c < channels; ++c) sums[c] += x[c];
        ++inside;
      });
      const int count = count_include_pad_ ? taps : inside;
      std::uint8_t* y = arena + y_.offset + static_cast<std::size_t>(position) * channels;
      for (std::size_t c = 0; c < channels; ++c)
        y[c] = requant_.apply(sums[c] - inside * zero_point_, static_cast<std::size_t>(std::max(count - 1, 0)));
    }
  }

 private:
  bool count_include_pad_;
  int zero_point_;
  Requant requant_;
};

class GlobalAvgPool : public Step {
 public:
  GlobalAvgPool(const Place& x, const Place& y, int zero_point, const Output& output)
      : x_(x), y_(y), zero_point_(zero_point), requant_(output.multipliers, 1, output.zero_point, output.clamp) {}

  std::size_t scratch_bytes() const override {
    return lines(static_cast<std::size_t>(y_.channels) * sizeof(std::int32_t));
  }

  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(x_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.channels, chunk, chunks);
    auto* sums = reinterpret_cast<std::int32_t*>(scratch);
    const auto count = static_cast<std::size_t>(share.end - share.begin);
    const auto pixels = static_cast<std::int32_t>(x_.height * x_.width);  // at most kMostSummed
    std::fill_n(sums, count, 0);
    for (int pixel = 0; pixel < pixels; ++pixel) {
      const std::uint8_t* x = arena + x_.offset + pixel * x_.channels + share.begin;
      for (std::size_t c = 0; c < count; ++c) sums[c] += x[c];
    }
    std::uint8_t* y = arena + y_.offset + share.begin;
    for (std::size_t c = 0; c < count; ++c) y[c] = requant_.apply(sums[c] - pixels * zero_point_, 0);
  }

 private:
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

std::unique_ptr<Step> make_max_pool(const Place& x, const Place& y, const Window& window, Clamp clamp) {
  check_pool(x, y, window);
  check_output(0, clamp);
  return std::make_unique<MaxPool>(x, y, window, clamp);
}

std::unique_ptr<Step> make_avg_pool(const Place& x, const Place& y, const Window& window, bool count_include_pad,
                                    int zero_point, const Output& output) {
  check_pool(x, y, window);
  check_zero_point(zero_point);
  if (output.multipliers.size() != static_cast<std::size_t>(window.taps()))
    refuse("one multiplier per number of values averaged is needed");
  return std::make_unique<AvgPool>(x, y, window, count_include_pad, zero_point, output);
}

std::unique_ptr<Step> make_global_avg_pool(const Place& x, const Place& y, int zero_point, const Output& output) {
  if (x.channels != y.channels || y.height != 1 || y.width != 1) refuse("the output is one value per channel");
  if (x.height * x.width > kMostSummed) refuse("the image is too large for s32 sums");
  check_zero_point(zero_point);
  return std::make_unique<GlobalAvgPool>(x, y, zero_point, output);
}

std::unique_ptr<Step> parse_max_pool(StepRecord& record) {
  const Window window = record.fields.window();
  return make_max_pool(record.input(), record.y, window, record.fields.clamp());
}

std::unique_ptr<Step> parse_avg_pool(StepRecord& record) {
  const Window window = record.fields.window();
  const auto [count_include_pad, zero_point] = record.fields.ints<2>();
  return make_avg_pool(record.input(), record.y, window, count_include_pad != 0, zero_point, record.fields.output());
}

std::unique_ptr<Step> parse_global_avg_pool(StepRecord& record) {
  const int zero_point = record.fields.i32();
  return make_global_avg_pool(record.input(), record.y, zero_point, record.fields.output());
}

}  // namespace oaq
