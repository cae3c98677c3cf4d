// Scalar depthwise rows, for every CPU.
//
//   sums   s32, (outputs, tile_n) in memory   sum of x[tap] * w[tap], all taps   **exact**: |x * w| <= 255 * 128,
//   proved in
//                                                                                s32
//
// They leave sums, in the order of channels; the driver requantizes them.
#include <cstring>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {

constexpr int kTile = 8;

}  // namespace

void copy_pixels_scalar(const std::uint8_t* from, std::ptrdiff_t stride, int count, std::uint8_t* to) {
  for (int i = 0; i < count; ++i, from += stride, to += kTile) std::memcpy(to, from, kTile);
}

void depthwise_scalar(const DepthwiseCall* call) {
  for (std::int64_t output = 0; output < call->outputs; ++output) {
    std::int32_t* sums = call->sums + output * kTile;
    for (int c = 0; c < kTile; ++c) sums[c] = call->bias[c];
    const auto* w = static_cast<const std::int8_t*>(call->weights);
    const std::uint8_t* const* x = call->x;
    for (int run = 0; run < call->run_count; ++run) {
      for (int step = 0; step < call->runs[run]; ++step, x += 2, w += 2 * kTile) {
        const std::uint8_t* a = x[0] + output * call->x_step;
        const std::uint8_t* b = x[1] + output * call->x_step;
        for (int c = 0; c < kTile; ++c) sums[c] += a[c] * w[2 * c] + b[c] * w[2 * c + 1];
      }
    }
  }
}

}  // namespace oaq
