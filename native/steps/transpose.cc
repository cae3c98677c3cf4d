// Transpose: memory cut into nested stretches, written in another order of them. Integers are moved, none is changed:
// runs of bytes by copies, planes whose neighbours in the output are far apart in the input in squares of 16 by 16,
// small planes that lie together in both by shuffles.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/copy.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
#include "steps/quantize.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr std::size_t kAxes = 8;

// One axis of the output: how long it is, and how far apart its neighbours lie in the input.
struct Axis {
  std::int64_t size, step;
};

// The axes of the output, slowest first; those of size 1 are left out, and two that are one in the input are one.
std::vector<Axis> axes_of(const std::array<int, kAxes>& split, const std::array<int, kAxes>& order) {
  std::array<std::int64_t, kAxes> steps{};
  std::int64_t step = 1;
  for (std::size_t place = kAxes; place-- > 0;) {
    steps[place] = step;
    step *= split[place];
  }
  std::vector<Axis> axes;
  for (int place : order) {
    const Axis axis = {split[static_cast<std::size_t>(place)], steps[static_cast<std::size_t>(place)]};
    if (axis.size == 1) continue;
    if (!axes.empty() && axes.back().step == axis.step * axis.size) {
      axes.back() = {axes.back().size * axis.size, axis.step};
    } else {
      axes.push_back(axis);
    }
  }
  return axes;
}

// What every place of the outer axes is moved by: y[a + b * far] = x[a * row.step + b], for b in a column of `height`.
struct Plane {
  Axis row = {1, 1};
  std::int64_t height = 1, far = 1;
};

// The outer axes count planes. The innermost axis of the input is the plane's column, unless it is the row.
class Transpose : public Step {
 public:
  Transpose(const Row& row, const Place& x, const Place& y, const std::vector<Axis>& axes)
      : loops_(step_loops(row.isa)), edges_(edge_loops(row.isa)), x_(x), y_(y) {
    std::int64_t far = 1;
    for (std::size_t i = axes.size(); i-- > 0;) {
      if (far == 1)
        plane_.row = axes[i];
      else if (axes[i].step == 1)
        plane_.height = axes[i].size, plane_.far = far;
      else
        outer_.insert(outer_.begin(), {axes[i], far});
      far *= axes[i].size;
    }
    const Axis& inner = plane_.row;
    const bool lies_together = inner.step == plane_.height && plane_.far == inner.size;
    if (inner.step > 1 && lies_together && inner.size < kFew && inner.size * plane_.height <= kMostShuffled)
      shuffle_ = shuffle_of(plane_);
    // A block of a row is moved with the whole column, so that memory is read in its order.
    blocks_ = inner.step == 1 || !shuffle_.order.empty() ? 1 : divided_up(inner.size, kBlock);
    for (const Outer& axis : outer_) planes_ *= axis.axis.size;
  }

  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(planes_ * blocks_, chunk, chunks);
    const std::int64_t neighbours = shuffle_.order.empty() || outer_.empty() ? 1 : outer_.back().axis.size;
    std::int64_t together = 1;
    for (std::int64_t unit = share.begin; unit < share.end; unit += together) {
      together = std::min(neighbours - unit % neighbours, share.end - unit);
      std::int64_t from = 0, to = 0, rest = unit / blocks_;
      for (std::size_t i = outer_.size(); i-- > 0;) {
        const std::int64_t place = rest % outer_[i].axis.size;
        rest /= outer_[i].axis.size;
        from += place * outer_[i].axis.step;
        to += place * outer_[i].far;
      }
      move(arena + x_.offset + from, arena + y_.offset + to, unit % blocks_, together);
    }
  }

 private:
  static constexpr std::int64_t kSide = 16, kBlock = 64, kFew = 8, kMostShuffled = 4096;
  struct Outer {
    Axis axis;
    std::int64_t far;  // bytes between neighbours in the output
  };

  static Shuffle shuffle_of(const Plane& plane) {
    std::vector<std::int32_t> order;
    for (std::int64_t b = 0; b < plane.height; ++b)
      for (std::int64_t a = 0; a < plane.row.size; ++a)
        order.push_back(static_cast<std::int32_t>(a * plane.row.step + b));
    return Shuffle(std::move(order));
  }

  // A block of a plane, or so many planes that lie behind one another in the output.
  void move(const std::uint8_t* x, std::uint8_t* y, std::int64_t block, std::int64_t planes) const {
    const auto [size, step] = plane_.row;
    if (step == 1) {
      std::memcpy(y, x, static_cast<std::size_t>(size));
    } else if (!shuffle_.order.empty()) {
      loops_.shuffle({x, outer_.empty() ? 0 : outer_.back().axis.step, planes, &shuffle_, y});
    } else {
      const std::int64_t end = std::min((block + 1) * kBlock, size);
      for (std::int64_t b = 0; b < plane_.height; b += kSide)
        for (std::int64_t a = block * kBlock; a < end; a += kSide)
          move_square(x + a * step + b, y + a + b * plane_.far, std::min(kSide, end - a),
                      std::min(kSide, plane_.height - b));
    }
  }

  // `width` neighbours in the output of `height` neighbours in the input.
  void move_square(const std::uint8_t* x, std::uint8_t* y, std::int64_t width, std::int64_t height) const {
    if (width == kSide && height == kSide) return edges_.transpose({x, plane_.row.step, y, plane_.far});
    std::uint8_t before[kSide * kSide] = {}, after[kSide * kSide];
    copy_pixels(before, kSide, x, plane_.row.step, height, width);
    edges_.transpose({before, kSide, after, kSide});
    copy_pixels(y, plane_.far, after, kSide, width, height);
  }

  const StepLoops& loops_;
  const EdgeLoops& edges_;
  Place x_, y_;
  Plane plane_;
  std::vector<Outer> outer_;  // of planes, slowest first
  Shuffle shuffle_;           // of a whole plane, or none
  std::int64_t planes_ = 1, blocks_ = 1;
};

}  // namespace

std::unique_ptr<Step> make_transpose(const Row& row, const Place& x, const Place& y, const std::array<int, 8>& split,
                                     const std::array<int, 8>& order) {
  std::array<bool, kAxes> seen{};
  std::int64_t bytes = 1;
  const auto most = static_cast<std::int64_t>(x.bytes());
  for (std::size_t place = 0; place < kAxes; ++place) {
    if (split[place] < 1 || bytes > most / split[place]) refuse("the stretches do not give the input");
    bytes *= split[place];
    const int target = order[place];
    if (target < 0 || target >= static_cast<int>(kAxes) || seen[static_cast<std::size_t>(target)])
      refuse("the order of stretches names one twice or none");
    seen[static_cast<std::size_t>(target)] = true;
  }
  if (bytes != most || x.bytes() != y.bytes()) refuse("the stretches do not give input and output");
  return std::make_unique<Transpose>(row, x, y, axes_of(split, order));
}

std::unique_ptr<Step> parse_transpose(StepRecord& record) {
  const auto split = record.fields.ints<8>();
  return make_transpose(record.row, record.input(), record.y, split, record.fields.ints<8>());
}

}  // namespace oaq
