// Add, Mul, Concat, Lookup, one integer at a time; Add also by vectors (steps/add.h).
//
//   Add       float32 terms, one rounding each; in fixed point s64, by vectors s32 where no sum leaves it
//   Mul       s32 product of two u8 less their zero points   **exact**: below 2^16
//   Concat, Lookup   a requantization, a table of 256
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "plan/read.h"
#include "steps/add.h"
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

class Mul : public Step {
 public:
  Mul(const Place& a, const Place& b, const Place& y, int a_zero, int b_zero, const Output& output)
      : a_(a),
        b_(b),
        y_(y),
        a_zero_(a_zero),
        b_zero_(b_zero),
        per_channel_(!same_shape(a, b)),
        requant_(output.multipliers, 1, output.zero_point, output.clamp) {}

  int chunks(int threads) const override { return chunks_of(2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    const std::int64_t channels = y_.channels;
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      const std::uint8_t* a = arena + a_.offset + position * channels;
      const std::uint8_t* b = arena + b_.offset + (per_channel_ ? 0 : position * channels);
      std::uint8_t* y = arena + y_.offset + position * channels;
      for (std::int64_t c = 0; c < channels; ++c) y[c] = requant_.apply((a[c] - a_zero_) * (b[c] - b_zero_), 0);
    }
  }

 private:
  Place a_, b_, y_;
  int a_zero_, b_zero_;
  bool per_channel_;
  Requant requant_;
};

// A requantized u8 is a function of one u8: a table.
std::array<std::uint8_t, 256> table_of(const Requant& requant, std::size_t channel, int zero_point) {
  std::array<std::uint8_t, 256> table;
  for (int value = 0; value < 256; ++value)
    table[static_cast<std::size_t>(value)] = requant.apply(value - zero_point, channel);
  return table;
}

class Concat : public Step {
 public:
  Concat(const std::vector<Place>& x, const Place& y, const std::vector<int>& zero_points, const Output& output)
      : x_(x), y_(y) {
    const Requant requant(output.multipliers, x.size(), output.zero_point, output.clamp);
    for (std::size_t i = 0; i < x.size(); ++i) tables_.push_back(table_of(requant, i, zero_points[i]));
  }

  int chunks(int threads) const override { return chunks_of(1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      std::uint8_t* y = arena + y_.offset + position * y_.channels;
      for (std::size_t i = 0; i < x_.size(); ++i) {
        const std::uint8_t* x = arena + x_[i].offset + position * x_[i].channels;
        for (std::int64_t c = 0; c < x_[i].channels; ++c) *y++ = tables_[i][x[c]];
      }
    }
  }

 private:
  std::vector<Place> x_;
  Place y_;
  std::vector<std::array<std::uint8_t, 256>> tables_;
};

class Lookup : public Step {
 public:
  Lookup(const Place& x, const Place& y, const std::vector<std::uint8_t>& table) : x_(x), y_(y), table_(table) {}

  int chunks(int threads) const override { return chunks_of(0.5 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(static_cast<std::int64_t>(y_.bytes()), chunk, chunks);
    const std::uint8_t* x = arena + x_.offset;
    std::uint8_t* y = arena + y_.offset;
    for (std::int64_t i = share.begin; i < share.end; ++i) y[i] = table_[x[i]];
  }

 private:
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

std::unique_ptr<Step> make_mul(const Place& a, const Place& b, const Place& y, int a_zero_point, int b_zero_point,
                               const Output& output) {
  const bool per_channel = b.height == 1 && b.width == 1 && b.channels == a.channels;
  if (!same_shape(a, y) || !(same_shape(a, b) || per_channel)) refuse("the shapes of inputs and output do not fit");
  check_zero_point(a_zero_point);
  check_zero_point(b_zero_point);
  return std::make_unique<Mul>(a, b, y, a_zero_point, b_zero_point, output);
}

std::unique_ptr<Step> make_concat(const std::vector<Place>& x, const Place& y, const std::vector<int>& zero_points,
                                  const Output& output) {
  std::int64_t channels = 0;
  for (const Place& input : x) {
    if (input.height != y.height || input.width != y.width)
      refuse("an input differs from the output in height or width");
    channels += input.channels;
  }
  if (x.empty() || channels != y.channels) refuse("the channels of the inputs are not those of the output");
  if (zero_points.size() != x.size()) refuse("one zero point per input is needed");
  for (int zero_point : zero_points) check_zero_point(zero_point);
  return std::make_unique<Concat>(x, y, zero_points, output);
}

std::unique_ptr<Step> make_lookup(const Place& x, const Place& y, const std::vector<std::uint8_t>& table) {
  if (table.size() != 256) refuse("a table has 256 entries, not " + std::to_string(table.size()));
  if (x.bytes() != y.bytes()) refuse("input and output differ in size");
  return std::make_unique<Lookup>(x, y, table);
}

std::unique_ptr<Step> parse_add(StepRecord& record) {
  record.require_inputs(2);
  const auto [a_zero, b_zero] = record.fields.ints<2>();
  return make_add(record.row, record.x[0], record.x[1], record.y, a_zero, b_zero, record.fields.output());
}

std::unique_ptr<Step> parse_mul(StepRecord& record) {
  record.require_inputs(2);
  const auto [a_zero, b_zero] = record.fields.ints<2>();
  return make_mul(record.x[0], record.x[1], record.y, a_zero, b_zero, record.fields.output());
}

std::unique_ptr<Step> parse_concat(StepRecord& record) {
  const std::vector<std::int32_t> zero_points = record.fields.numbers<std::int32_t>();
  return make_concat(record.x, record.y, zero_points, record.fields.output());
}

std::unique_ptr<Step> parse_lookup(StepRecord& record) {
  return make_lookup(record.input(), record.y, record.fields.numbers<std::uint8_t>());
}

}  // namespace oaq
