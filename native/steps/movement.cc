// Copy, Pad, Slice, DepthToSpace: integers are moved, and none is changed. Nothing is computed.
#include <algorithm>
#include <cstring>

#include "plan/read.h"
#include "steps/steps.h"

namespace oaq {
namespace {

class Copy : public Step {
 public:
  Copy(const Place& x, const Place& y) : x_(x), y_(y) {}

  int chunks(int threads) const override { return chunks_of(0.05 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(static_cast<std::int64_t>(y_.bytes()), chunk, chunks);
    std::memmove(arena + y_.offset + share.begin, arena + x_.offset + share.begin,
                 static_cast<std::size_t>(share.end - share.begin));
  }

 private:
  Place x_, y_;
};

class Pad : public Step {
 public:
  Pad(const Place& x, const Place& y, const std::array<int, 4>& padding, int zero_point)
      : x_(x), y_(y), padding_(padding), zero_point_(zero_point) {}

  int chunks(int threads) const override { return chunks_of(0.1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height, chunk, chunks);
    const auto channels = static_cast<std::size_t>(y_.channels), width = static_cast<std::size_t>(y_.width);
    const auto left = static_cast<std::size_t>(padding_[2]) * channels;
    const auto right = static_cast<std::size_t>(padding_[3]) * channels;
    const auto middle = static_cast<std::size_t>(x_.width) * channels;
    for (std::int64_t row = share.begin; row < share.end; ++row) {
      std::uint8_t* y = arena + y_.offset + static_cast<std::size_t>(row) * width * channels;
      const std::int64_t line = row - padding_[0];
      if (line < 0 || line >= x_.height) {
        std::memset(y, zero_point_, width * channels);
        continue;
      }
      std::memset(y, zero_point_, left);
      std::memcpy(y + left, arena + x_.offset + static_cast<std::size_t>(line) * middle, middle);
      std::memset(y + left + middle, zero_point_, right);
    }
  }

 private:
  Place x_, y_;
  std::array<int, 4> padding_;
  int zero_point_;
};

class Slice : public Step {
 public:
  Slice(const Place& x, const Place& y, const std::array<int, 3>& begin) : x_(x), y_(y), begin_(begin) {}

  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    const auto channels = static_cast<std::size_t>(y_.channels);
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      const std::int64_t row = position / y_.width + begin_[0], column = position % y_.width + begin_[1];
      const std::uint8_t* x = arena + x_.offset + (row * x_.width + column) * x_.channels + begin_[2];
      std::memcpy(arena + y_.offset + static_cast<std::size_t>(position) * channels, x, channels);
    }
  }

 private:
  Place x_, y_;
  std::array<int, 3> begin_;
};

class DepthToSpace : public Step {
 public:
  DepthToSpace(const Place& x, const Place& y, int block, bool channels_first)
      : x_(x), y_(y), block_(block), channels_first_(channels_first) {}

  int chunks(int threads) const override { return chunks_of(1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      const std::int64_t row = position / y_.width, column = position % y_.width;
      const std::uint8_t* x = arena + x_.offset + (row / block_ * x_.width + column / block_) * x_.channels;
      const std::int64_t cell = row % block_ * block_ + column % block_;
      std::uint8_t* y = arena + y_.offset + position * y_.channels;
      for (std::int64_t c = 0; c < y_.channels; ++c)
        y[c] = channels_first_ ? x[c * block_ * block_ + cell] : x[cell * y_.channels + c];
    }
  }

 private:
  Place x_, y_;
  int block_;
  bool channels_first_;
};

}  // namespace

std::unique_ptr<Step> make_copy(const Place& x, const Place& y) {
  if (x.bytes() != y.bytes()) refuse("input and output differ in size");
  return std::make_unique<Copy>(x, y);
}

std::unique_ptr<Step> make_pad(const Place& x, const Place& y, const std::array<int, 4>& padding, int zero_point) {
  for (int side : padding)
    if (side < 0) refuse("padding is negative");
  const std::int64_t height = x.height + padding[0] + padding[1];
  const std::int64_t width = x.width + padding[2] + padding[3];
  if (height != y.height || width != y.width || x.channels != y.channels)
    refuse("the padding does not give the output");
  check_zero_point(zero_point);
  return std::make_unique<Pad>(x, y, padding, zero_point);
}

std::unique_ptr<Step> make_slice(const Place& x, const Place& y, const std::array<int, 3>& begin,
                                 const std::array<int, 3>& end) {
  const std::array<std::int64_t, 3> from = {x.height, x.width, x.channels}, to = {y.height, y.width, y.channels};
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (begin[axis] < 0 || end[axis] > from[axis] || begin[axis] >= end[axis] || end[axis] - begin[axis] != to[axis])
      refuse("the slice leaves the input or does not give the output");
  return std::make_unique<Slice>(x, y, begin);
}

std::unique_ptr<Step> make_depth_to_space(const Place& x, const Place& y, int block, const std::string& mode) {
  if (mode != "DCR" && mode != "CRD") refuse("mode " + mode + " is neither DCR nor CRD");
  if (block < 1 || block > 4096) refuse("block " + std::to_string(block) + " is outside [1, 4096]");
  const std::int64_t b = block;
  if (x.height * b != y.height || x.width * b != y.width || y.channels * b * b != x.channels)
    refuse("blocks of " + std::to_string(block) + " do not give the output");
  return std::make_unique<DepthToSpace>(x, y, block, mode == "CRD");
}

std::unique_ptr<Step> parse_copy(StepRecord& record) { return make_copy(record.input(), record.y); }

std::unique_ptr<Step> parse_pad(StepRecord& record) {
  const auto padding = record.fields.ints<4>();
  return make_pad(record.input(), record.y, padding, record.fields.i32());
}

std::unique_ptr<Step> parse_slice(StepRecord& record) {
  const auto begin = record.fields.ints<3>();
  return make_slice(record.input(), record.y, begin, record.fields.ints<3>());
}

std::unique_ptr<Step> parse_depth_to_space(StepRecord& record) {
  const auto [block, channels_first] = record.fields.ints<2>();
  return make_depth_to_space(record.input(), record.y, block, channels_first ? "CRD" : "DCR");
}

}  // namespace oaq
