// The matrix row of AMX on emulated tile registers, against sums one by one and the law of requantization.
//
//   tiles                 every number of positions, both parts, every way out, runs in pieces; prints how many calls
//   tiles unconfigured    uses tiles that no thread has configured: the process must end
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "base/aligned.h"
#include "base/order.h"
#include "gemm/gemm.h"
#include "requantize/as_floats.h"
#include "requantize/loops.h"

OAQ_DECLARE_GEMM(amx, 32, 2);

namespace oaq {

void begin_tiles();
void end_tiles();

namespace {

constexpr int kOutputs = 32, kStep = 64, kMostRows = 32, kGap = 24;
constexpr Row kRow{"", "gemm", Isa::kScalar, kSixtyFours, kRawU8, kS8, kBytesUnpacked, kMostRows, kOutputs, 2};

std::mt19937 draw(20);

int drawn(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(draw); }

enum class Leaves { kGeneral, kFloats, kWords, kSums };

// What is computed, and where its operands lie.
struct Case {
  int part, rows, groups, lines;
  std::vector<int> steps;  // of each piece; between two lie bytes that no piece reads
  Leaves leaves;
  bool extreme;
};

struct Data {
  std::vector<Piece> pieces;
  std::int64_t stride = 0;
  int terms = 0;
  AlignedVector<std::uint8_t> x;
  std::vector<std::int8_t> weights;   // (terms, outputs)
  AlignedVector<std::int8_t> packed;  // as the row reads them
  AlignedVector<std::int32_t> bias, as_given;
  AlignedVector<float> scale, addend;
  AlignedVector<std::int16_t> words;
  RequantNumbers law{};
};

// Odd multiples of 2^-15: no result below the clamp lies halfway between two integers (requantize/in_words.h).
int word_of(int n) { return 8193 + 2 * n; }

Data data_of(const Case& of) {
  Data data;
  int first = 0;
  for (std::size_t i = 0; i < of.steps.size(); ++i) {
    const bool is_last = i + 1 == of.steps.size();
    data.pieces.push_back({first, of.steps[i], is_last ? After::kBegin : After::kGoOn});
    data.terms += of.steps[i] * kStep;
    first += of.steps[i] * kStep + (is_last ? 0 : kGap);
  }
  data.stride = first - drawn(0, kStep - 1);  // the last step reads on into the next position, and at last into slack
  const std::int64_t positions = std::int64_t{of.rows} * of.groups * of.lines;
  data.x.resize(static_cast<std::size_t>((positions - 1) * data.stride + first) - kStep + 1);
  for (auto& x : data.x) x = static_cast<std::uint8_t>(of.extreme ? 255 : drawn(0, 255));
  data.weights.resize(static_cast<std::size_t>(data.terms) * kOutputs);
  const bool is_narrow = of.leaves == Leaves::kFloats || of.leaves == Leaves::kWords;
  for (std::size_t k = 0; k < static_cast<std::size_t>(data.terms); ++k)
    for (std::size_t n = 0; n < kOutputs; ++n) {
      auto& w = data.weights[k * kOutputs + n];
      w = static_cast<std::int8_t>(of.extreme ? (n % 2 ? 127 : -128) : drawn(-128, 127));
      if (is_narrow) w = static_cast<std::int8_t>(drawn(-2, 2));
    }
  const auto unread = static_cast<std::size_t>(first - data.stride);  // of the last step: beyond the last k
  std::fill(data.weights.end() - static_cast<std::ptrdiff_t>(unread * kOutputs), data.weights.end(), std::int8_t{0});
  data.packed.resize(data.weights.size());
  for (std::size_t k = 0; k < static_cast<std::size_t>(data.terms); ++k)
    for (std::size_t n = 0; n < kOutputs; ++n)
      data.packed[(k / 4 * kOutputs + n) * 4 + k % 4] = data.weights[k * kOutputs + n];
  for (int n = 0; n < kOutputs; ++n) {
    data.bias.push_back(is_narrow ? drawn(-3000, 3000) : drawn(-(1 << 30), 1 << 30));
    data.scale.push_back(of.leaves == Leaves::kWords ? static_cast<float>(word_of(n)) / 32768.0f
                                                     : 1.0f / static_cast<float>(drawn(3, 60000)));
    data.addend.push_back(-kFloatValue * data.scale.back());
  }
  data.as_given = data.bias;
  if (of.leaves == Leaves::kFloats)
    for (auto& bias : data.as_given) bias += kFloatBits;
  for (int place = 0; place < word_places(kRow); ++place)
    data.words.push_back(static_cast<std::int16_t>(word_of(word_output(kRow, place, of.part == 2))));
  data.law.scale = data.scale.data();
  data.law.lo = is_narrow ? 0 : drawn(0, 20);
  data.law.hi = drawn(200, 255);
  data.law.zero = is_narrow ? 0 : drawn(0, 255);
  return data;
}

std::int32_t sum_at(const Data& data, std::int64_t position, int n) {
  auto sum = static_cast<std::uint32_t>(data.bias[static_cast<std::size_t>(n)]);
  std::size_t k = 0;
  for (const Piece& piece : data.pieces)
    for (int i = 0; i < piece.steps * kStep; ++i, ++k) {
      const auto w = data.weights[k * kOutputs + static_cast<std::size_t>(n)];
      if (w)
        sum +=
            static_cast<std::uint32_t>(data.x[static_cast<std::size_t>(position * data.stride + piece.first + i)] * w);
    }
  return static_cast<std::int32_t>(sum);
}

bool computes(const Case& of) {
  const Data data = data_of(of);
  const int outputs = kOutputs / 2 * of.part;
  const std::int64_t y_stride = outputs + 5, rows = std::int64_t{of.rows} * of.groups * of.lines;
  std::vector<std::uint8_t> y(static_cast<std::size_t>((rows - 1) * y_stride + outputs));
  std::vector<std::int32_t> sums(static_cast<std::size_t>((of.rows - 1) * kOutputs + outputs));
  GemmCall call{};
  call.x = data.x.data();
  call.stride = data.stride;
  call.packed = data.packed.data();
  call.next = of.groups > 1 ? 4096 : 0;
  call.pieces = data.pieces.data();
  call.piece_count = static_cast<std::int64_t>(data.pieces.size());
  call.sums = sums.data();
  call.bias = data.as_given.data();
  call.y = of.leaves == Leaves::kSums ? nullptr : y.data();
  call.y_stride = y_stride;
  call.scale = data.scale.data();
  call.addend = data.addend.data();
  call.words = data.words.data();
  call.groups = call.line_groups = of.groups;
  call.lines = of.lines;
  call.x_jump = of.rows * data.stride;  // a line goes on where the one before ends
  call.y_jump = of.rows * y_stride;
  call.hi = data.law.hi;
  call.zero = data.law.zero;
  call.lo = data.law.lo;
  call.way = of.leaves == Leaves::kFloats ? Way::kFloats : of.leaves == Leaves::kWords ? Way::kWords : Way::kGeneral;
  OAQ_GEMM_FUNCTIONS(amx, 32, 2)[(of.part - 1) * kMostRows + of.rows - 1](&call);
  for (std::int64_t row = 0; row < rows; ++row)
    for (int n = 0; n < outputs; ++n) {
      const std::int32_t sum = sum_at(data, row, n);
      const bool is_right = call.y ? y[static_cast<std::size_t>(row * y_stride + n)] ==
                                         requantized(data.law, sum, static_cast<std::size_t>(n))
                                   : sums[static_cast<std::size_t>(row * kOutputs + n)] == sum;
      if (is_right) continue;
      std::printf("part %d, %d rows of %d groups and %d lines, leaving %d: row %d, output %d differs\n", of.part,
                  of.rows, of.groups, of.lines, static_cast<int>(of.leaves), static_cast<int>(row), n);
      return false;
    }
  return true;
}

int run_all() {
  const std::vector<std::vector<int>> runs{{1}, {2, 1}, {1, 3, 1}};
  int calls = 0;
  const auto one = [&](const Case& of) {
    ++calls;
    return computes(of);
  };
  for (const Leaves leaves : {Leaves::kGeneral, Leaves::kFloats, Leaves::kWords, Leaves::kSums})
    for (int part = 1; part <= 2; ++part)
      for (int rows = 1; rows <= kMostRows; ++rows) {
        const auto& steps = runs[static_cast<std::size_t>(rows) % runs.size()];
        if (!one({part, rows, 1, 1, steps, leaves, false})) return 1;
        if (leaves == Leaves::kSums) continue;
        if (!one({part, rows, 1 + rows % 3, 1 + rows % 2, steps, leaves, false})) return 1;
      }
  for (const int rows : {1, 16, 17, 32})
    for (const Leaves leaves : {Leaves::kGeneral, Leaves::kSums})
      if (!one({2, rows, 1, 1, {1040}, leaves, true})) return 1;  // sums of 66560 products, the largest, wrap
  std::printf("%d calls\n", calls);
  return 0;
}

}  // namespace
}  // namespace oaq

int main(int count, char** arguments) {
  if (count > 1) return !std::strcmp(arguments[1], "unconfigured") && oaq::computes({2, 16, 1, 1, {1}, {}, false});
  oaq::begin_tiles();
  const int code = oaq::run_all();
  oaq::end_tiles();
  return code;
}
