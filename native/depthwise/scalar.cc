// Scalar depthwise rows, for every CPU: scalar multiplies u8 as it lies, scalar_s8 the s8 that is u8 - 128, as CPUs do
// that multiply s8 by s8 only. The bias is folded for what is multiplied.
//
//   sums   s32, (outputs, tile_n) in memory   sum of x[tap] * w[tap], all taps   **exact**: proved in s32
//
// They leave sums, in the order of channels; the driver requantizes them.
#include <cstring>

#include "base/wrap.h"
#include "depthwise/depthwise.h"

namespace oaq {
namespace {

constexpr int kTile = 8;

struct Raw {
  static int of(std::uint8_t x) { return x; }
};

struct Shifted {
  static int of(std::uint8_t x) { return static_cast<std::int8_t>(x - kShiftedS8.shift); }
};

template <typename X>
void sum_taps(const DepthwiseCall* call) {
  for (std::int64_t output = 0; output < call->outputs; ++output) {
    std::int32_t* sums = call->sums + output * kTile;
    for (int c = 0; c < kTile; ++c) sums[c] = call->bias[c];
    const auto* w = static_cast<const std::int8_t*>(call->weights);
    const std::uint8_t* const* x = call->x;
    for (int run = 0; run < call->run_count; ++run) {
      for (int step = 0; step < call->runs[run]; ++step, x += 2, w += 2 * kTile) {
        const std::uint8_t* a = x[0] + output * call->x_step;
        const std::uint8_t* b = x[1] + output * call->x_step;
        for (int c = 0; c < kTile; ++c)
          sums[c] = wrapping_sum(sums[c], X::of(a[c]) * w[2 * c] + X::of(b[c]) * w[2 * c + 1]);
      }
    }
  }
}

}  // namespace

void copy_pixels_scalar(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride, to += kTile) std::memcpy(to, from, kTile);
}

void depthwise_scalar(const DepthwiseCall* call) { sum_taps<Raw>(call); }
void depthwise_scalar_s8(const DepthwiseCall* call) { sum_taps<Shifted>(call); }

}  // namespace oaq
