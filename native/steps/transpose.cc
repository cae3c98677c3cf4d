// Transpose: memory cut into nested stretches, written in another order of them. Integers are moved, none is changed.
#include <algorithm>
#include <array>
#include <cstring>

#include "plan/read.h"
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

class Transpose : public Step {
 public:
  // The last axis is the row; the others count rows.
  Transpose(const Place& x, const Place& y, std::vector<Axis> axes) : x_(x), y_(y), outer_(std::move(axes)) {
    if (!outer_.empty()) {
      row_ = outer_.back();
      outer_.pop_back();
    }
    for (const Axis& axis : outer_) rows_ *= axis.size;
  }

  int chunks(int threads) const override { return chunks_of(1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(rows_, chunk, chunks);
    std::array<std::int64_t, kAxes> place{};
    std::int64_t at = 0, rest = share.begin;
    for (std::size_t axis = outer_.size(); axis-- > 0;) {
      place[axis] = rest % outer_[axis].size;
      rest /= outer_[axis].size;
      at += place[axis] * outer_[axis].step;
    }
    const std::uint8_t* x = arena + x_.offset;
    std::uint8_t* y = arena + y_.offset + share.begin * row_.size;
    for (std::int64_t row = share.begin; row < share.end; ++row, y += row_.size) {
      copy_row(x + at, y);
      for (std::size_t axis = outer_.size(); axis-- > 0;) {
        at += outer_[axis].step;
        if (++place[axis] < outer_[axis].size) break;
        at -= outer_[axis].step * outer_[axis].size;
        place[axis] = 0;
      }
    }
  }

 private:
  void copy_row(const std::uint8_t* x, std::uint8_t* y) const {
    if (row_.step == 1) {
      std::memcpy(y, x, static_cast<std::size_t>(row_.size));
      return;
    }
    for (std::int64_t i = 0; i < row_.size; ++i) y[i] = x[i * row_.step];
  }

  Place x_, y_;
  std::vector<Axis> outer_;
  Axis row_ = {1, 1};
  std::int64_t rows_ = 1;
};

}  // namespace

std::unique_ptr<Step> make_transpose(const Place& x, const Place& y, const std::array<int, 8>& split,
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
  return std::make_unique<Transpose>(x, y, axes_of(split, order));
}

std::unique_ptr<Step> parse_transpose(StepRecord& record) {
  const auto split = record.fields.ints<8>();
  return make_transpose(record.input(), record.y, split, record.fields.ints<8>());
}

}  // namespace oaq
