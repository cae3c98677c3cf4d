// Add, Mul, Concat, Lookup: by steps/loops.h, and Add by steps/add.h.
//
//   Add       float32 terms, one rounding each; in fixed point s64, by vectors s32 where no sum leaves it
//   Mul       s32 product of two u8 less their zero points   **exact**: below 2^16
//   Concat, Lookup   a requantization, a table of 256
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/aligned.h"
#include "base/copy.h"
#include "base/sizes.h"
#include "plan/read.h"
#include "steps/add.h"
#include "steps/loops.h"
#include "steps/steps.h"

namespace oaq {
namespace {

struct AddEntry {
  std::string_view row;
  AddVectors vectors;
};

constexpr AddEntry kAdds[] = {
#define ADD(name, isa, function) {#name, function},
#define GEMM(...)
#define DEPTHWISE(...)
#define LOOKUP(...)
#define OTHER(...)
#include "rows.inc"
};

// Null for a row that adds one by one.
AddVectors add_vectors(const Row& row) {
  for (const AddEntry& entry : kAdds)
    if (entry.row == row.name) return entry.vectors;
  throw std::invalid_argument("no kernel adds by " + std::string(row.name));
}

// Whether fixed-point sums of two operands of at most 255 in magnitude, rounding included, stay in s32.
bool fits_s32(std::int64_t a_factor, std::int64_t b_factor, int shift) {
  if (shift > 31) return false;
  return 255 * (a_factor + b_factor) + (std::int64_t{1} << (shift - 1)) < std::int64_t{1} << 31;
}

constexpr float kLargestScale = 1 << 21;  // two products of it and an operand's 255 fit s32

class Add : public Step {
 public:
  Add(const Row& row, const Place& a, const Place& b, const Place& y, int a_zero, int b_zero, const Output& output)
      : a_(a), b_(b), y_(y), output_(output) {
    numbers_ = {1,
                1,
                0,
                0,
                0,
                0,
                a_zero,
                b_zero,
                output.zero_point,
                static_cast<std::uint8_t>(output.clamp.lo),
                static_cast<std::uint8_t>(output.clamp.hi)};
    const Multipliers& by = output.multipliers;
    if (by.is_fixed()) {
      if (!fits_s32(by.multiplier[0], by.multiplier[1], by.shift[0])) return;
      numbers_.a_factor = by.multiplier[0];
      numbers_.b_factor = by.multiplier[1];
      numbers_.half = std::int32_t{1} << (by.shift[0] - 1);
      numbers_.shift = by.shift[0];
      vectors_ = add_vectors(row);
      return;
    }
    numbers_.a_scale = by.scale[0];
    numbers_.b_scale = by.scale[1];
    if (std::max(numbers_.a_scale, numbers_.b_scale) <= kLargestScale) vectors_ = add_vectors(row);
  }

  int chunks(int threads) const override { return chunks_of(0.1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(static_cast<std::int64_t>(y_.bytes()), chunk, chunks);
    const std::uint8_t *a = arena + a_.offset + share.begin, *b = arena + b_.offset + share.begin;
    std::uint8_t* y = arena + y_.offset + share.begin;
    const auto count = static_cast<std::size_t>(share.end - share.begin);
    std::size_t done = vectors_ ? vectors_(a, b, count, numbers_, y) : 0;
    for (; done < count; ++done) y[done] = add_pair(a[done] - numbers_.a_zero, b[done] - numbers_.b_zero);
  }

 private:
  std::uint8_t add_pair(int a, int b) const {
    const auto [lo, hi] = output_.clamp;
    const int zero = output_.zero_point;
    const Multipliers& by = output_.multipliers;
    if (by.is_fixed()) {
      const std::int64_t half = std::int64_t{1} << (by.shift[0] - 1);
      const std::int64_t sum = std::int64_t{a} * by.multiplier[0] + std::int64_t{b} * by.multiplier[1];
      return static_cast<std::uint8_t>(std::clamp<std::int64_t>(((sum + half) >> by.shift[0]) + zero, lo, hi));
    }
    const float left = static_cast<float>(a) * by.scale[0], right = static_cast<float>(b) * by.scale[1];
    const float clamped = std::clamp(left + right, static_cast<float>(lo - zero), static_cast<float>(hi - zero));
    return static_cast<std::uint8_t>(static_cast<int>(std::lrintf(clamped)) + zero);
  }

  Place a_, b_, y_;
  Output output_;
  AddVectors vectors_ = nullptr;
  AddNumbers numbers_;
};

// Where b has one value per channel, and there are fewer of them, whole pixels of them are repeated in scratch.
constexpr std::int64_t kPattern = 1024;

class Mul : public Step {
 public:
  Mul(const Row& row, const Place& a, const Place& b, const Place& y, int a_zero, int b_zero, const Output& output)
      : loops_(step_loops(row.isa)),
        a_(a),
        b_(b),
        y_(y),
        a_zero_(a_zero),
        b_zero_(b_zero),
        period_(same_shape(a, b) ? static_cast<std::int64_t>(y.bytes())
                                 : divided_up(kPattern, y.channels) * y.channels),
        is_repeated_(!same_shape(a, b) && period_ > y.channels),
        requant_(output.multipliers, 1, output.zero_point, output.clamp) {}

  std::size_t scratch_bytes() const override { return is_repeated_ ? bytes_of({period_}) + kSlack : 0; }
  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    const std::int64_t channels = y_.channels, end = share.end * channels;
    const std::uint8_t* b = arena + b_.offset;
    if (is_repeated_) {
      for (std::int64_t at = 0; at < period_; at += channels)
        std::memcpy(scratch + at, b, static_cast<std::size_t>(channels));
      b = scratch;
    }
    const bool is_whole = same_shape(a_, b_);
    for (std::int64_t at = share.begin * channels; at < end; at += period_)
      loops_.multiply({arena + a_.offset + at, is_whole ? b + at : b,
                       static_cast<std::size_t>(std::min(period_, end - at)), a_zero_, b_zero_, requant_.numbers(0),
                       arena + y_.offset + at});
  }

 private:
  const StepLoops& loops_;
  Place a_, b_, y_;
  int a_zero_, b_zero_;
  std::int64_t period_;  // bytes after which b begins again
  bool is_repeated_;     // in scratch
  Requant requant_;
};

using Table = std::array<std::uint8_t, 256>;

// A requantized u8 is a function of one u8: a table.
Table table_of(const Requant& requant, std::size_t channel, int zero_point) {
  Table table;
  for (int value = 0; value < 256; ++value)
    table[static_cast<std::size_t>(value)] = requant.apply(value - zero_point, channel);
  return table;
}

bool changes_nothing(const Table& table) {
  for (std::size_t value = 0; value < table.size(); ++value)
    if (table[value] != value) return false;
  return true;
}

constexpr std::int64_t kConcatBytes = 16 * 1024;

// A block of pixels of each input at a time: looked up into scratch where its integers change, then copied to where its
// channels belong.
class Concat : public Step {
 public:
  Concat(const Row& row, const std::vector<Place>& x, const Place& y, const std::vector<int>& zero_points,
         const Output& output)
      : loops_(step_loops(row.isa)),
        x_(x),
        y_(y),
        zero_points_(zero_points),
        requant_(output.multipliers, x.size(), output.zero_point, output.clamp) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      tables_.push_back(table_of(requant_, i, zero_points[i]));
      changes_nothing_.push_back(changes_nothing(tables_.back()));
    }
    block_ = std::clamp<std::int64_t>(kConcatBytes / y.channels, 1, y.height * y.width);
  }

  std::size_t scratch_bytes() const override { return bytes_of({block_, y_.channels}) + kSlack; }
  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    for (std::int64_t first = share.begin; first < share.end; first += block_) {
      const std::int64_t count = std::min(block_, share.end - first);
      std::uint8_t* y = arena + y_.offset + first * y_.channels;
      for (std::size_t i = 0; i < x_.size(); ++i) {
        const std::int64_t channels = x_[i].channels;
        const std::uint8_t* x = arena + x_[i].offset + first * channels;
        if (!changes_nothing_[i]) {
          change(i, x, static_cast<std::size_t>(count * channels), scratch);
          x = scratch;
        }
        copy_pixels(y, y_.channels, x, channels, channels, count);
        y += channels;
      }
    }
  }

 private:
  void change(std::size_t i, const std::uint8_t* x, std::size_t count, std::uint8_t* y) const {
    if (loops_.rescale && !requant_.is_fixed())
      loops_.rescale(x, count, zero_points_[i], requant_.numbers(i), y);
    else
      loops_.lookup(x, count, tables_[i].data(), y);
  }

  const StepLoops& loops_;
  std::vector<Place> x_;
  Place y_;
  std::vector<int> zero_points_;
  Requant requant_;
  std::vector<Table> tables_;
  std::vector<bool> changes_nothing_;
  std::int64_t block_;  // pixels
};

class Lookup : public Step {
 public:
  Lookup(const Row& row, const Place& x, const Place& y, const std::vector<std::uint8_t>& table)
      : loops_(step_loops(row.isa)), x_(x), y_(y), table_(table) {}

  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(static_cast<std::int64_t>(y_.bytes()), chunk, chunks);
    loops_.lookup(arena + x_.offset + share.begin, static_cast<std::size_t>(share.end - share.begin), table_.data(),
                  arena + y_.offset + share.begin);
  }

 private:
  const StepLoops& loops_;
  Place x_, y_;
  std::vector<std::uint8_t> table_;
};

}  // namespace

void refuse(const std::string& message) { throw std::invalid_argument(message); }

bool same_shape(const Place& a, const Place& b) {
  return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

std::unique_ptr<Step> make_add(const Row& row, const Place& a, const Place& b, const Place& y, int a_zero_point,
                               int b_zero_point, const Output& output) {
  if (!same_shape(a, b) || !same_shape(a, y)) refuse("the inputs and the output differ in shape");
  check_zero_point(a_zero_point);
  check_zero_point(b_zero_point);
  check_output(output.zero_point, output.clamp);
  check_multipliers(output.multipliers, 2);
  if (output.multipliers.size() != 2) refuse("two multipliers are needed, one per input");
  if (!output.multipliers.then.empty()) refuse("a sum of two is rounded once");
  if (output.multipliers.is_fixed() && output.multipliers.shift[0] != output.multipliers.shift[1])
    refuse("the two shifts differ");
  return std::make_unique<Add>(row, a, b, y, a_zero_point, b_zero_point, output);
}

std::unique_ptr<Step> make_mul(const Row& row, const Place& a, const Place& b, const Place& y, int a_zero_point,
                               int b_zero_point, const Output& output) {
  const bool per_channel = b.height == 1 && b.width == 1 && b.channels == a.channels;
  if (!same_shape(a, y) || !(same_shape(a, b) || per_channel)) refuse("the shapes of inputs and output do not fit");
  check_zero_point(a_zero_point);
  check_zero_point(b_zero_point);
  return std::make_unique<Mul>(row, a, b, y, a_zero_point, b_zero_point, output);
}

std::unique_ptr<Step> make_concat(const Row& row, const std::vector<Place>& x, const Place& y,
                                  const std::vector<int>& zero_points, const Output& output) {
  std::int64_t channels = 0;
  for (const Place& input : x) {
    if (input.height != y.height || input.width != y.width)
      refuse("an input differs from the output in height or width");
    channels += input.channels;
  }
  if (x.empty() || channels != y.channels) refuse("the channels of the inputs are not those of the output");
  if (zero_points.size() != x.size()) refuse("one zero point per input is needed");
  for (int zero_point : zero_points) check_zero_point(zero_point);
  return std::make_unique<Concat>(row, x, y, zero_points, output);
}

std::unique_ptr<Step> make_lookup(const Row& row, const Place& x, const Place& y,
                                  const std::vector<std::uint8_t>& table) {
  if (table.size() != 256) refuse("a table has 256 entries, not " + std::to_string(table.size()));
  if (x.bytes() != y.bytes()) refuse("input and output differ in size");
  return std::make_unique<Lookup>(row, x, y, table);
}

std::unique_ptr<Step> parse_add(StepRecord& record) {
  record.require_inputs(2);
  const auto [a_zero, b_zero] = record.fields.ints<2>();
  return make_add(record.row, record.x[0], record.x[1], record.y, a_zero, b_zero, record.fields.output());
}

std::unique_ptr<Step> parse_mul(StepRecord& record) {
  record.require_inputs(2);
  const auto [a_zero, b_zero] = record.fields.ints<2>();
  return make_mul(record.row, record.x[0], record.x[1], record.y, a_zero, b_zero, record.fields.output());
}

std::unique_ptr<Step> parse_concat(StepRecord& record) {
  const std::vector<std::int32_t> zero_points = record.fields.numbers<std::int32_t>();
  return make_concat(record.row, record.x, record.y, zero_points, record.fields.output());
}

std::unique_ptr<Step> parse_lookup(StepRecord& record) {
  return make_lookup(record.row, record.input(), record.y, record.fields.numbers<std::uint8_t>());
}

}  // namespace oaq
