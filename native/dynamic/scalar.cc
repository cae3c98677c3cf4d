// The loops of dynamic layers for any CPU: what the wider ones compute, an element at a time.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "dynamic/loops.h"

namespace oaq {
namespace {

constexpr float kHalfEven = 12582912.0f;  // 1.5 * 2^23: adding it rounds anything in [-2^22, 2^22] to an integer

Extremes extremes(const float* x, std::int64_t count) {
  Extremes result{0.0f, 0.0f};
  for (std::int64_t i = 0; i < count; ++i) {
    if (x[i] < result.least) result.least = x[i];
    if (x[i] > result.most) result.most = x[i];
  }
  return result;
}

bool quantize(const float* x, std::int64_t count, const RealScale& numbers, std::uint8_t* q) {
  const auto lo = static_cast<float>(numbers.lo - numbers.zero), hi = static_cast<float>(numbers.hi - numbers.zero);
  for (std::int64_t i = 0; i < count; ++i) {
    const float steps = x[i] / numbers.scale;
    if (steps != steps) return false;
    const float clamped = std::min(std::max(steps, lo), hi);
    q[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(clamped + kHalfEven - kHalfEven) + numbers.zero);
  }
  return true;
}

std::int32_t less_product(std::int32_t sum, std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum) -
                                   static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
}

void leave(const LeaveCall& call) {
  for (std::int64_t m = 0; m < call.rows; ++m) {
    const std::int32_t* sums = call.sums + m * call.tile_n;
    float* y = call.y + m * call.y_stride;
    for (std::int64_t n = 0; n < call.columns; ++n) {
      std::int32_t t = sums[n];
      if (call.row_zero) t = less_product(t, call.row_zero[m], call.column_sum[n]);
      if (call.weight_zero) t = less_product(t, call.row_excess[m], call.weight_zero[n]);
      const float product = static_cast<float>(t) * (call.row_scale[m] * call.scale[n]);
      y[n] = call.bias ? product + call.bias[n] : product;
    }
  }
}

}  // namespace

const DynamicLoops kScalarLoops{Isa::kScalar, extremes, quantize, leave};

const DynamicLoops& dynamic_loops(Isa isa) {
#ifdef OAQ_X86
  const Isas included = included_in(isa);
  if (included & bit(Isa::kAvx512bw)) return kAvx512bwLoops;
  if (included & bit(Isa::kAvx2)) return kAvx2Loops;
#endif
#ifdef OAQ_ARM64
  if (included_in(isa) & bit(Isa::kNeon)) return kNeonLoops;
#endif
  static_cast<void>(isa);
  return kScalarLoops;
}

}  // namespace oaq
