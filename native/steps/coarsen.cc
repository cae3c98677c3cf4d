// Coarsen: statistics of each channel of the image, a table of 256 from them, and every integer through its channel's.
//
// Sums of a strip of pixels are u32: 2^15 * 255^2 < 2^31. Sums of the image are u64: 2^24 pixels * 255^2 < 2^41. With N
// of them, N * (sum of squares) - (sum)^2 < 2^62, and four times that times a factor of at most 4000 squared < 2^88,
// which two u64 hold. Its root is below 2^44, and everything after it fits std::int64_t. Nothing wraps or saturates.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/aligned.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr std::int64_t kEntries = 256, kStrip = 1 << 15, kMostPositions = 1 << 24, kUnit = 1000;
constexpr int kMostBits = 7, kMostFactor = 4000;

struct Levels {
  std::vector<std::uint8_t> bits;
  std::vector<std::int32_t> factors;
  std::vector<std::uint8_t> limits;
  std::vector<std::uint8_t> rectified;
};

// A number of up to 128 bits.
struct Wide {
  std::uint64_t high, low;
  friend bool operator<=(const Wide& a, const Wide& b) { return a.high != b.high ? a.high < b.high : a.low <= b.low; }
};

Wide product(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t kHalf = 0xffffffffu;
  const std::uint64_t low = (a & kHalf) * (b & kHalf), first = (a >> 32) * (b & kHalf),
                      second = (a & kHalf) * (b >> 32);
  const std::uint64_t middle = (low >> 32) + (first & kHalf) + (second & kHalf);
  return {(a >> 32) * (b >> 32) + (first >> 32) + (second >> 32) + (middle >> 32), (middle << 32) | (low & kHalf)};
}

// The largest integer whose square is at most a number below 2^88, bit by bit.
std::int64_t root_of(const Wide& number) {
  std::uint64_t root = 0;
  for (int bit = 44; bit >= 0; --bit) {
    const std::uint64_t next = root | (std::uint64_t{1} << bit);
    if (product(next, next) <= number) root = next;
  }
  return static_cast<std::int64_t>(root);
}

// Sums over one channel of the image, above what is taken off every integer.
struct Sums {
  std::uint64_t count, total, squares;
};

// Threads share the channels; where whole vectors of them lie side by side, one thread is quicker than several that
// skip between them, as its tables are looked up by vectors.
class Coarsen : public Step {
 public:
  Coarsen(const Row& row, const Place& x, const Place& y, Levels levels, int zero_point, Clamp clamp)
      : loops_(step_loops(row.isa)),
        x_(x),
        y_(y),
        levels_(std::move(levels)),
        zero_point_(zero_point),
        clamp_(clamp),
        in_vectors_(loops_.lookup_channels != look_up_channels && y.channels >= kLeast) {
    for (const std::uint8_t rectified : levels_.rectified)
      taken_off_.push_back(rectified ? static_cast<std::uint8_t>(zero_point) : std::uint8_t{0});
    taken_off_.resize(taken_off_.size() + kSlack);  // vectors read past the last
  }

  // For every channel its sums, those of a strip, a table and its differences.
  std::size_t scratch_bytes() const override {
    return bytes_of({x_.channels, static_cast<std::int64_t>(sizeof(Sums) + 3 * sizeof(std::uint32_t)) + 2 * kEntries});
  }

  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override {
    return in_vectors_ ? 1 : chunks_of(2.0 * static_cast<double>(y_.bytes()), threads);
  }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.channels, chunk, chunks);
    const std::int64_t count = share.end - share.begin, pixels = x_.height * x_.width;
    if (!count) return;
    auto* sums = reinterpret_cast<Sums*>(scratch);
    auto* strip = reinterpret_cast<std::uint32_t*>(sums + count);
    auto* tables = reinterpret_cast<std::uint8_t*>(strip + 3 * count);
    std::uint8_t* differences = tables + kEntries * count;
    const std::uint8_t* x = arena + x_.offset + share.begin;
    std::uint8_t* y = arena + y_.offset + share.begin;
    add_up(x, share, sums, strip);
    for (std::int64_t c = 0; c < count; ++c) {
      write_table(static_cast<std::size_t>(share.begin + c), sums[c], tables + kEntries * c);
      as_differences(tables + kEntries * c, differences + kEntries * c);
    }
    if (in_vectors_ && count == x_.channels) {
      loops_.lookup_channels({x, pixels, count, tables, differences, y});
      return;
    }
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel, x += x_.channels, y += y_.channels)
      for (std::int64_t c = 0; c < count; ++c) y[c] = tables[kEntries * c + x[c]];
  }

 private:
  static constexpr std::int64_t kLeast = 16;

  void add_up(const std::uint8_t* x, const Share& share, Sums* sums, std::uint32_t* strip) const {
    const std::int64_t count = share.end - share.begin, pixels = x_.height * x_.width;
    std::uint32_t *counts = strip, *totals = strip + count, *squares = strip + 2 * count;
    const std::uint8_t* off = taken_off_.data() + share.begin;
    std::fill_n(sums, count, Sums{0, 0, 0});
    for (std::int64_t first = 0; first < pixels; first += kStrip) {
      std::fill_n(strip, 3 * count, 0u);
      loops_.add_levels({x + first * x_.channels, x_.channels, std::min(kStrip, pixels - first), count, off, counts,
                         totals, squares});
      for (std::int64_t c = 0; c < count; ++c) {
        sums[c].count += counts[c];
        sums[c].total += totals[c];
        sums[c].squares += squares[c];
      }
    }
  }

  void write_table(std::size_t channel, const Sums& sums, std::uint8_t* table) const {
    const bool rectified = levels_.rectified[channel] != 0;
    const std::int64_t top = (std::int64_t{1} << levels_.bits[channel]) - 1, factor = levels_.factors[channel];
    const std::int64_t count = rectified ? static_cast<std::int64_t>(sums.count) + 1 : x_.height * x_.width;
    const auto total = static_cast<std::int64_t>(sums.total);
    const std::uint64_t spread = static_cast<std::uint64_t>(count) * sums.squares - sums.total * sums.total;
    const std::int64_t root = root_of(product(spread, static_cast<std::uint64_t>(4 * factor * factor)));
    std::int64_t step = (root + kUnit * count) / (2 * kUnit * count);
    if (rectified) step = std::max(step, divided_up(2 * factor * total + root, 2 * factor * count * top));
    step = std::clamp<std::int64_t>(step, 1, levels_.limits[channel]);
    const std::int64_t first =
        rectified ? zero_point_ - step / 2 : (2 * total + count) / (2 * count) - (top + 1) / 2 * step;
    for (std::int64_t x = 0; x < kEntries; ++x) {
      const std::int64_t level = x < first ? 0 : std::min((x - first) / step, top);
      const std::int64_t y = first + level * step + step / 2;
      table[x] = static_cast<std::uint8_t>(std::clamp<std::int64_t>(y, clamp_.lo, clamp_.hi));
    }
  }

  const StepLoops& loops_;
  Place x_, y_;
  Levels levels_;
  std::vector<std::uint8_t> taken_off_;
  int zero_point_;
  Clamp clamp_;
  bool in_vectors_;
};

}  // namespace

std::unique_ptr<Step> parse_coarsen(StepRecord& record) {
  Levels levels;
  levels.bits = record.fields.numbers<std::uint8_t>();
  levels.factors = record.fields.numbers<std::int32_t>();
  levels.limits = record.fields.numbers<std::uint8_t>();
  levels.rectified = record.fields.numbers<std::uint8_t>();
  const int zero_point = record.fields.i32();
  const Clamp clamp = record.fields.clamp();
  const Place x = record.input(), y = record.y;
  if (!same_shape(x, y)) refuse("input and output differ in shape");
  if (x.height * x.width > kMostPositions) refuse("an image of more than 2^24 positions has no exact statistics here");
  const auto channels = static_cast<std::size_t>(x.channels);
  if (levels.bits.size() != channels || levels.factors.size() != channels || levels.limits.size() != channels ||
      levels.rectified.size() != channels)
    refuse("bits, factors, limits and what is rectified are one per channel");
  for (std::size_t c = 0; c < channels; ++c) {
    const int bits = levels.bits[c], factor = levels.factors[c], limit = levels.limits[c];
    if (bits < 1 || bits > kMostBits || factor < 1 || factor > kMostFactor || limit < 1 ||
        limit * ((1 << bits) - 1) > 255 || levels.rectified[c] > 1)
      refuse("channel " + std::to_string(c) + " has levels that there are not");
  }
  check_output(zero_point, clamp);
  return std::make_unique<Coarsen>(record.row, x, y, std::move(levels), zero_point, clamp);
}

}  // namespace oaq
