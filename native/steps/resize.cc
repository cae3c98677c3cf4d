// Resize: nearest, and bilinear with half-pixel centres, as operators/resize.py defines it.
//
//   weights   11 bits each, two per axis
//   sums      s32   of u8 times two weights, below 2^30   **exact**
#include <algorithm>
#include <cstring>

#include "base/sizes.h"
#include "plan/read.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr int kWeightBits = 11;
constexpr int kOne = 1 << kWeightBits;

// Where one output reads an axis: two inputs and the weight of the second.
struct Tap {
  std::int64_t first, second;
  int weight;
};

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }

std::vector<Tap> bilinear_taps(std::int64_t size, std::int64_t target) {
  std::vector<Tap> taps;
  for (std::int64_t i = 0; i < target; ++i) {
    const std::int64_t numerator = (2 * i + 1) * size - target, denominator = 2 * target;
    const std::int64_t first = floor_divide(numerator, denominator);
    const std::int64_t remainder = numerator - first * denominator;
    const std::int64_t weight = ((remainder << (kWeightBits + 1)) + denominator) / (2 * denominator);
    const auto on_axis = [&](std::int64_t j) { return std::clamp<std::int64_t>(j, 0, size - 1); };
    taps.push_back({on_axis(first), on_axis(first + 1), static_cast<int>(weight)});
  }
  return taps;
}

std::vector<Tap> nearest_taps(std::int64_t size, std::int64_t target) {
  std::vector<Tap> taps;
  for (std::int64_t i = 0; i < target; ++i) {
    const std::int64_t first = i * size / target;
    taps.push_back({first, first, 0});
  }
  return taps;
}

class Resize : public Step {
 public:
  Resize(const Place& x, const Place& y, bool nearest) : x_(x), y_(y), nearest_(nearest) {
    const auto taps = nearest ? nearest_taps : bilinear_taps;
    rows_ = taps(x.height, y.height);
    columns_ = taps(x.width, y.width);
  }

  int chunks(int threads) const override { return chunks_of(2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    const std::uint8_t* x = arena + x_.offset;
    const auto pixel = [&](std::int64_t row, std::int64_t column) {
      return x + (row * x_.width + column) * x_.channels;
    };
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      const Tap& row = rows_[static_cast<std::size_t>(position / y_.width)];
      const Tap& column = columns_[static_cast<std::size_t>(position % y_.width)];
      std::uint8_t* y = arena + y_.offset + position * y_.channels;
      const std::uint8_t* corner = pixel(row.first, column.first);
      if (nearest_) {
        std::memcpy(y, corner, static_cast<std::size_t>(y_.channels));
        continue;
      }
      const std::uint8_t *right = pixel(row.first, column.second), *below = pixel(row.second, column.first),
                         *across = pixel(row.second, column.second);
      const int up = kOne - row.weight, left = kOne - column.weight;
      for (std::int64_t c = 0; c < y_.channels; ++c) {
        const int top = corner[c] * left + right[c] * column.weight;
        const int bottom = below[c] * left + across[c] * column.weight;
        const int mixed = top * up + bottom * row.weight;  // at most 255 * 2^22
        y[c] = static_cast<std::uint8_t>((mixed + (1 << (2 * kWeightBits - 1))) >> (2 * kWeightBits));
      }
    }
  }

 private:
  Place x_, y_;
  bool nearest_;
  std::vector<Tap> rows_, columns_;
};

}  // namespace

std::unique_ptr<Step> make_resize(const Place& x, const Place& y, const std::string& mode) {
  if (mode != "nearest" && mode != "bilinear") refuse("mode " + mode + " is neither nearest nor bilinear");
  if (x.channels != y.channels) refuse("input and output differ in channels");
  return std::make_unique<Resize>(x, y, mode == "nearest");
}

std::unique_ptr<Step> parse_resize(StepRecord& record) {
  const bool nearest = record.fields.i32() == 0;
  const Place& y = record.y;
  record.memory.take(bytes_of({y.height + y.width, 2 * std::int64_t{sizeof(Tap)}}), "the tables of a resize");
  return make_resize(record.input(), y, nearest ? "nearest" : "bilinear");
}

}  // namespace oaq
