// Copy, Pad, Slice, DepthToSpace: integers are moved, and none is changed. Nothing is computed. Where pieces are short,
// DepthToSpace moves them by steps/loops.h.
#include <algorithm>
#include <cstring>

#include "base/copy.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
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
  Pad(const Place& x, const Place& y, const std::array<int, 4>& padding, int zero_point, const Planes& planes)
      : x_(x),
        y_(y),
        padding_(padding),
        zero_point_(zero_point),
        planes_(planes),
        height_(x.height / planes.x),
        y_height_(y.height / planes.y) {}

  int chunks(int threads) const override { return chunks_of(0.1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height, chunk, chunks);
    const auto channels = static_cast<std::size_t>(y_.channels), width = static_cast<std::size_t>(y_.width);
    const auto left = static_cast<std::size_t>(padding_[2]) * channels;
    const auto right = static_cast<std::size_t>(padding_[3]) * channels;
    const auto middle = static_cast<std::size_t>(x_.width) * channels;
    for (std::int64_t row = share.begin; row < share.end; ++row) {
      std::uint8_t* y = arena + y_.offset + static_cast<std::size_t>(row) * width * channels;
      const std::int64_t plane = row / y_height_ - planes_.before, line = row % y_height_ - padding_[0];
      if (line < 0 || line >= height_ || plane < 0 || plane >= planes_.x) {
        std::memset(y, zero_point_, width * channels);
        continue;
      }
      std::memset(y, zero_point_, left);
      std::memcpy(y + left, arena + x_.offset + static_cast<std::size_t>(plane * height_ + line) * middle, middle);
      std::memset(y + left + middle, zero_point_, right);
    }
  }

 private:
  Place x_, y_;
  std::array<int, 4> padding_;
  int zero_point_;
  Planes planes_;
  std::int64_t height_, y_height_;  // of one plane
};

class Slice : public Step {
 public:
  Slice(const Place& x, const Place& y, const std::array<int, 3>& begin, const Planes& planes)
      : x_(x),
        y_(y),
        begin_(begin),
        first_(planes.before),
        height_(x.height / planes.x),
        y_height_(y.height / planes.y) {}

  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    for (std::int64_t position = share.begin; position < share.end;) {
      const std::int64_t row = position / y_.width, column = position % y_.width;
      const std::int64_t count = std::min(y_.width - column, share.end - position);
      const std::int64_t line = (row / y_height_ + first_) * height_ + row % y_height_ + begin_[0];
      const std::int64_t from = line * x_.width + column + begin_[1];
      copy_pixels(arena + y_.offset + position * y_.channels, y_.channels,
                  arena + x_.offset + from * x_.channels + begin_[2], x_.channels, y_.channels, count);
      position += count;
    }
  }

 private:
  Place x_, y_;
  std::array<int, 3> begin_;
  std::int64_t first_, height_, y_height_;  // plane of the input; heights are of one plane
};

// One row of outputs takes `block` values of every channel of a pixel. They lie together in the order of DCR; else, and
// where they are few, groups of pixels are shuffled, each row of a block in an order of its own.
class DepthToSpace : public Step {
 public:
  DepthToSpace(const Row& row, const Place& x, const Place& y, int block, bool channels_first)
      : loops_(step_loops(row.isa)), x_(x), y_(y), block_(block), piece_(block * y.channels) {
    const bool is_together = !channels_first || y.channels == 1 || block == 1;
    if (is_together && piece_ >= kShort) return;
    group_ = std::max<std::int64_t>(kShort / piece_, 1);
    for (std::int64_t line = 0; line < block; ++line) {
      std::vector<std::int32_t> order;
      for (std::int64_t pixel = 0; pixel < group_; ++pixel)
        for (std::int64_t i = 0; i < piece_; ++i) {
          const std::int64_t channel = i % y.channels, cell = line * block + i / y.channels;
          const std::int64_t from = is_together ? line * piece_ + i : channel * block * block + cell;
          order.push_back(static_cast<std::int32_t>(pixel * x.channels + from));
        }
      groups_.emplace_back(order);
      order.resize(static_cast<std::size_t>(piece_));
      pixels_.emplace_back(std::move(order));
    }
  }

  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  // Shared are input pixels in every row of outputs.
  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * x_.width, chunk, chunks);
    for (std::int64_t place = share.begin; place < share.end;) {
      const std::int64_t row = place / x_.width, column = place % x_.width;
      const std::int64_t count = std::min(x_.width - column, share.end - place);
      const std::uint8_t* x = arena + x_.offset + (row / block_ * x_.width + column) * x_.channels;
      std::uint8_t* y = arena + y_.offset + place * piece_;
      const auto line = static_cast<std::size_t>(row % block_);
      if (group_) {
        const std::int64_t groups = count / group_, grouped = groups * group_;
        loops_.shuffle({x, group_ * x_.channels, groups, &groups_[line], y});
        loops_.shuffle({x + grouped * x_.channels, x_.channels, count - grouped, &pixels_[line], y + grouped * piece_});
      } else {
        copy_pixels(y, piece_, x + row % block_ * piece_, x_.channels, piece_, count);
      }
      place += count;
    }
  }

 private:
  static constexpr std::int64_t kShort = 16;
  const StepLoops& loops_;
  Place x_, y_;
  std::int64_t block_, piece_;
  std::int64_t group_ = 0;                // pixels shuffled together; 0: their pieces are copied
  std::vector<Shuffle> groups_, pixels_;  // by row of a block
};

void check_planes(const Place& x, const Place& y, const Planes& planes) {
  if (x.height % planes.x || y.height % planes.y) refuse("lines are not as many in every plane");
}

}  // namespace

std::unique_ptr<Step> make_copy(const Place& x, const Place& y) {
  if (x.bytes() != y.bytes()) refuse("input and output differ in size");
  return std::make_unique<Copy>(x, y);
}

std::unique_ptr<Step> make_pad(const Place& x, const Place& y, const std::array<int, 4>& padding, int zero_point,
                               const Planes& planes) {
  for (int side : padding)
    if (side < 0) refuse("padding is negative");
  check_planes(x, y, planes);
  if (planes.before < 0 || planes.after < 0 || planes.x + planes.before + planes.after != planes.y)
    refuse("the padding does not give the output's planes");
  const std::int64_t height = x.height / planes.x + padding[0] + padding[1];
  const std::int64_t width = x.width + padding[2] + padding[3];
  if (height != y.height / planes.y || width != y.width || x.channels != y.channels)
    refuse("the padding does not give the output");
  check_zero_point(zero_point);
  return std::make_unique<Pad>(x, y, padding, zero_point, planes);
}

std::unique_ptr<Step> make_slice(const Place& x, const Place& y, const std::array<int, 3>& begin,
                                 const std::array<int, 3>& end, const Planes& planes) {
  check_planes(x, y, planes);
  if (planes.before < 0 || planes.before > planes.x - planes.y) refuse("the slice leaves the input's planes");
  const std::array<std::int64_t, 3> from = {x.height / planes.x, x.width, x.channels},
                                    to = {y.height / planes.y, y.width, y.channels};
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (begin[axis] < 0 || end[axis] > from[axis] || begin[axis] >= end[axis] || end[axis] - begin[axis] != to[axis])
      refuse("the slice leaves the input or does not give the output");
  return std::make_unique<Slice>(x, y, begin, planes);
}

std::unique_ptr<Step> make_depth_to_space(const Row& row, const Place& x, const Place& y, int block,
                                          const std::string& mode) {
  if (mode != "DCR" && mode != "CRD") refuse("mode " + mode + " is neither DCR nor CRD");
  if (block < 1 || block > 4096) refuse("block " + std::to_string(block) + " is outside [1, 4096]");
  const std::int64_t b = block;
  if (x.height * b != y.height || x.width * b != y.width || y.channels * b * b != x.channels)
    refuse("blocks of " + std::to_string(block) + " do not give the output");
  return std::make_unique<DepthToSpace>(row, x, y, block, mode == "CRD");
}

std::unique_ptr<Step> parse_copy(StepRecord& record) { return make_copy(record.input(), record.y); }

namespace {

std::unique_ptr<Step> read_pad(StepRecord& record, const Planes& planes) {
  const auto padding = record.fields.ints<4>();
  return make_pad(record.input(), record.y, padding, record.fields.i32(), planes);
}

std::unique_ptr<Step> read_slice(StepRecord& record, const Planes& planes) {
  const auto begin = record.fields.ints<3>();
  return make_slice(record.input(), record.y, begin, record.fields.ints<3>(), planes);
}

}  // namespace

std::unique_ptr<Step> parse_pad(StepRecord& record) { return read_pad(record, {}); }

std::unique_ptr<Step> parse_slice(StepRecord& record) { return read_slice(record, {}); }

std::unique_ptr<Step> parse_pad_volume(StepRecord& record) {
  const Planes planes = record.fields.planes();
  return read_pad(record, planes);
}

std::unique_ptr<Step> parse_slice_volume(StepRecord& record) {
  const Planes planes = record.fields.planes();
  return read_slice(record, planes);
}

std::unique_ptr<Step> parse_depth_to_space(StepRecord& record) {
  const auto [block, channels_first] = record.fields.ints<2>();
  return make_depth_to_space(record.row, record.input(), record.y, block, channels_first ? "CRD" : "DCR");
}

}  // namespace oaq
