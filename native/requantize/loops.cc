// Requantization for any CPU: what wider loops compute, a sum at a time. Registers are in loops.h.
#include "requantize/loops.h"

#include <algorithm>

namespace oaq {
namespace {

constexpr float kHalfEven = 12582912.0f;  // 1.5 * 2^23: adding it rounds anything in [-2^22, 2^22] to an integer

// x / 2^times, halves away from 0; |x| < 2^62.
std::int64_t halved_away(std::int64_t x, std::int32_t times) {
  const std::int64_t half = (std::int64_t{1} << times) >> 1;
  const std::int64_t magnitude = ((x < 0 ? -x : x) + half) >> times;
  return x < 0 ? -magnitude : magnitude;
}

struct Ends {
  float lo, hi;
  std::int32_t zero;

  explicit Ends(const RequantNumbers& numbers)
      : lo(static_cast<float>(numbers.lo - numbers.zero)),
        hi(static_cast<float>(numbers.hi - numbers.zero)),
        zero(numbers.zero) {}

  std::uint8_t rounded(std::int32_t sum, float scale) const {
    const float scaled = static_cast<float>(sum) * scale;
    const float clamped = std::min(std::max(scaled, lo), hi);
    return static_cast<std::uint8_t>(static_cast<std::int32_t>(clamped + kHalfEven - kHalfEven) + zero);
  }
};

std::uint8_t rounded_fixed(const RequantNumbers& numbers, std::int32_t sum, std::size_t at) {
  const std::int64_t half = std::int64_t{1} << (numbers.shift[at] - 1);
  std::int64_t rounded = (std::int64_t{sum} * numbers.multiplier[at] + half) >> numbers.shift[at];
  if (numbers.then) rounded = halved_away(rounded, numbers.then[at]);
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(rounded + numbers.zero, numbers.lo, numbers.hi));
}

// kStep: 1 where each sum has its own numbers, 0 where all have the first.
template <std::size_t kStep>
void requantize(const RequantNumbers& numbers, const std::int32_t* __restrict sums, std::size_t count,
                std::uint8_t* __restrict y) {
  if (!numbers.scale) {
    for (std::size_t i = 0; i < count; ++i) y[i] = rounded_fixed(numbers, sums[i], i * kStep);
    return;
  }
  const Ends ends(numbers);
  const float* scale = numbers.scale;
  for (std::size_t i = 0; i < count; ++i) y[i] = ends.rounded(sums[i], scale[i * kStep]);
}

void requantize_rows(const RequantNumbers& numbers, const SumRows& sums, std::uint8_t* y, std::int64_t y_stride) {
  for (std::int64_t row = 0; row < sums.rows; ++row)
    requantize<1>(numbers, sums.first + row * sums.stride, static_cast<std::size_t>(sums.columns), y + row * y_stride);
}

}  // namespace

std::uint8_t requantized(const RequantNumbers& numbers, std::int32_t sum, std::size_t at) {
  return numbers.scale ? Ends(numbers).rounded(sum, numbers.scale[at]) : rounded_fixed(numbers, sum, at);
}

void look_up(const Residues& residues, const SumRows& sums, std::uint8_t* y, std::int64_t y_stride) {
  for (std::int64_t row = 0; row < sums.rows; ++row) {
    const std::int32_t* from = sums.first + row * sums.stride;
    std::uint8_t* to = y + row * y_stride;
    const std::uint8_t* table = residues.table;
    for (std::int64_t column = 0; column < sums.columns; ++column, table += residues.stride)
      to[column] = table[static_cast<std::uint32_t>(from[column]) & residues.mask];
  }
}

const RequantLoops kScalarRequant{Isa::kScalar, requantize_rows, requantize<0>};

const RequantLoops& requant_loops(Isa isa) {
#ifdef OAQ_X86
  const Isas included = included_in(isa);
  if (included & bit(Isa::kAvx512bw)) return kAvx512bwRequant;
  if (included & bit(Isa::kAvx2)) return kAvx2Requant;
#endif
#ifdef OAQ_ARM64
  if (included_in(isa) & bit(Isa::kNeon)) return kNeonRequant;
#endif
#ifdef OAQ_WASM
  if (included_in(isa) & bit(Isa::kSimd128)) return kSimd128Requant;
#endif
  static_cast<void>(isa);
  return kScalarRequant;
}

}  // namespace oaq
