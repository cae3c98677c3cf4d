// Resize: nearest, and bilinear by half-pixel centres, corners or first pixels, as operators/resize.py defines it.
// Which inputs each output reads; bilinear outputs are mixed by steps/loops.h.
//
//   weights   11 bits each, two per axis
//   sums      s32   of u8 times two weights, below 2^30   **exact**
#include <algorithm>
#include <cstring>

#include "base/aligned.h"
#include "base/copy.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
#include "steps/steps.h"

namespace oaq {
namespace {

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }

using Taps = std::vector<Tap> (*)(std::int64_t size, std::int64_t target);

enum class Places { kCentres, kCorners, kFirst };

template <Places kPlaces>
std::vector<Tap> bilinear_taps(std::int64_t size, std::int64_t target) {
  std::vector<Tap> taps;
  for (std::int64_t i = 0; i < target; ++i) {
    std::int64_t numerator = (2 * i + 1) * size - target, denominator = 2 * target;
    if (kPlaces == Places::kCorners) numerator = i * (size - 1), denominator = std::max<std::int64_t>(target - 1, 1);
    if (kPlaces == Places::kFirst) numerator = i * size, denominator = target;
    const std::int64_t first = floor_divide(numerator, denominator);
    const std::int64_t remainder = numerator - first * denominator;
    const std::int64_t weight = ((remainder << (kTapBits + 1)) + denominator) / (2 * denominator);
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

Taps taps_of(const std::string& mode) {
  if (mode == "nearest") return nearest_taps;
  if (mode == "bilinear_asymmetric") return bilinear_taps<Places::kFirst>;
  return mode == "bilinear" ? bilinear_taps<Places::kCentres> : bilinear_taps<Places::kCorners>;
}

// Outputs of which a row's inputs are mixed along columns before rows are mixed: two lines of s32 stay in the first
// cache.
constexpr std::int64_t kMixed = 2048;

class Resize : public Step {
 public:
  Resize(const Row& row, const Place& x, const Place& y, const std::string& mode)
      : loops_(step_loops(row.isa)),
        x_(x),
        y_(y),
        nearest_(mode == "nearest"),
        rows_(taps_of(mode)(x.height, y.height)),
        columns_(taps_of(mode)(x.width, y.width)),
        block_(std::clamp<std::int64_t>(kMixed / y.channels, 1, y.width)) {}

  std::size_t scratch_bytes() const override {
    return nearest_ ? 0 : bytes_of({2, mixed_size(), std::int64_t{sizeof(std::int32_t)}});
  }
  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const bool few_rows = y_.height < chunks;  // then columns are shared
    const Share rows = few_rows ? Share(0, y_.height) : Share(y_.height, chunk, chunks);
    const Share columns = few_rows ? Share(y_.width, chunk, chunks) : Share(0, y_.width);
    if (nearest_) return copy_nearest(arena, rows, columns);
    for (std::int64_t first = columns.begin; first < columns.end; first += block_)
      mix(arena, rows, {first, std::min(first + block_, columns.end)}, reinterpret_cast<std::int32_t*>(scratch));
  }

 private:
  // s32 of one line of a block, and what vectors write behind it.
  std::int64_t mixed_size() const { return block_ * y_.channels + static_cast<std::int64_t>(kSlack); }

  void copy_nearest(std::uint8_t* arena, const Share& rows, const Share& columns) const {
    const std::uint8_t* x = arena + x_.offset;
    const std::int64_t channels = y_.channels, line = y_.width * channels;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      std::uint8_t* y = arena + y_.offset + row * line;
      const std::int64_t from = rows_[static_cast<std::size_t>(row)].first;
      if (row > rows.begin && rows_[static_cast<std::size_t>(row - 1)].first == from) {
        std::memcpy(y + columns.begin * channels, y - line + columns.begin * channels,
                    static_cast<std::size_t>((columns.end - columns.begin) * channels));
        continue;
      }
      for (std::int64_t column = columns.begin; column < columns.end;) {
        const std::int64_t first = columns_[static_cast<std::size_t>(column)].first;
        std::int64_t end = column + 1;
        while (end < columns.end && columns_[static_cast<std::size_t>(end)].first == first) ++end;
        copy_pixels(y + column * channels, channels, x + (from * x_.width + first) * channels, 0, channels,
                    end - column);
        column = end;
      }
    }
  }

  // A block of columns. Neighbouring rows read the same two lines of inputs, which are mixed along columns once each.
  void mix(std::uint8_t* arena, const Share& rows, const Share& columns, std::int32_t* scratch) const {
    const std::int64_t channels = y_.channels, count = columns.end - columns.begin;
    std::int64_t mixed_rows[2] = {-1, -1};  // which are in scratch, each at a place of its own
    const auto line = [&](std::int64_t row) {
      std::int32_t* to = scratch + row % 2 * mixed_size();
      if (mixed_rows[row % 2] != row)
        loops_.mix_columns(arena + x_.offset + row * x_.width * channels, columns_.data() + columns.begin, count,
                           static_cast<std::size_t>(channels), to);
      mixed_rows[row % 2] = row;
      return to;
    };
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const Tap& tap = rows_[static_cast<std::size_t>(row)];
      const std::int32_t *first = line(tap.first), *second = line(tap.second);
      loops_.mix_lines(first, second, tap.weight, static_cast<std::size_t>(count * channels),
                       arena + y_.offset + (row * y_.width + columns.begin) * channels);
    }
  }

  const StepLoops& loops_;
  Place x_, y_;
  bool nearest_;
  std::vector<Tap> rows_, columns_;
  std::int64_t block_;  // columns
};

}  // namespace

std::unique_ptr<Step> make_resize(const Row& row, const Place& x, const Place& y, const std::string& mode) {
  if (mode != "nearest" && mode != "bilinear" && mode != "bilinear_corners" && mode != "bilinear_asymmetric")
    refuse("mode " + mode + " is neither nearest nor bilinear");
  if (x.channels != y.channels) refuse("input and output differ in channels");
  return std::make_unique<Resize>(row, x, y, mode);
}

std::unique_ptr<Step> parse_resize(StepRecord& record) {
  constexpr const char* kModes[] = {"nearest", "bilinear", "bilinear_corners", "bilinear_asymmetric"};
  const std::int32_t mode = record.fields.i32();
  if (mode < 0 || mode > 3) refuse("mode " + std::to_string(mode) + " is outside [0, 3]");
  const Place& y = record.y;
  record.memory.take(bytes_of({y.height + y.width, 2 * std::int64_t{sizeof(Tap)}}), "the tables of a resize");
  return make_resize(record.row, record.input(), y, kModes[mode]);
}

}  // namespace oaq
