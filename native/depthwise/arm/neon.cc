// Depthwise rows on NEON: s8 (u8 - 128) by s8, sixteen channels, a tap a step, any window.
//
//   acc16   low, high   8 x s16   smlal, smlal2   **wrap**    contract: a run's final lane proved in s16
//           spilled by saddw, saddw2               **exact**
//   exact   four        4 x s32   smull, smull2, then saddw, saddw2   **exact**   a product of two s8 fits s16
//
// Neighbouring outputs are summed together, so that each tap's weights are loaded once for all of them.
#include <arm_neon.h>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {

constexpr int kTile = 16, kTogether = 4;

inline int8x16_t shifted(const std::uint8_t* x) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x), vdupq_n_u8(kShiftedS8.shift)));
}

struct Sums {
  int32x4_t at[4];
};

inline void widen(Sums& sums, int16x8_t low, int16x8_t high) {
  sums.at[0] = vaddw_s16(sums.at[0], vget_low_s16(low));
  sums.at[1] = vaddw_high_s16(sums.at[1], low);
  sums.at[2] = vaddw_s16(sums.at[2], vget_low_s16(high));
  sums.at[3] = vaddw_high_s16(sums.at[3], high);
}

struct Acc16 {
  int16x8_t low, high;
  void clear() { low = high = vdupq_n_s16(0); }
  void add(Sums&, int8x16_t x, int8x16_t w) {
    low = vmlal_s8(low, vget_low_s8(x), vget_low_s8(w));
    high = vmlal_high_s8(high, x, w);
  }
  void finish(Sums& sums) const { widen(sums, low, high); }
};

struct Exact {
  void clear() {}
  void add(Sums& sums, int8x16_t x, int8x16_t w) {
    widen(sums, vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w));
  }
  void finish(Sums&) const {}
};

// Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps.
inline uint8x16_t packed(const DepthwiseCall& call, const Sums& sums) {
  const int16x8_t zero = vdupq_n_s16(static_cast<std::int16_t>(call.zero));
  int16x4_t words[4];
  for (int i = 0; i < 4; ++i)
    words[i] = vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums.at[i]), vld1q_f32(call.scale + 4 * i))));
  const uint8x8_t low = vqmovun_s16(vqaddq_s16(vcombine_s16(words[0], words[1]), zero));
  const uint8x8_t high = vqmovun_s16(vqaddq_s16(vcombine_s16(words[2], words[3]), zero));
  const uint8x16_t lo = vdupq_n_u8(static_cast<std::uint8_t>(call.lo));
  return vminq_u8(vmaxq_u8(vcombine_u8(low, high), lo), vdupq_n_u8(static_cast<std::uint8_t>(call.hi)));
}

template <typename Run, int kOutputs>
inline void sum_outputs(const DepthwiseCall& call, std::int64_t output) {
  const std::ptrdiff_t first = output * call.x_step;
  const auto* w = static_cast<const std::int8_t*>(call.weights);
  const std::uint8_t* const* tap = call.x;
  Sums sums[static_cast<std::size_t>(kOutputs)];
  Run runs[static_cast<std::size_t>(kOutputs)];
  for (Sums& output_sums : sums)
    for (int i = 0; i < 4; ++i) output_sums.at[i] = vld1q_s32(call.bias + 4 * i);
  for (std::int32_t run = 0; run < call.run_count; ++run) {
    for (Run& output_run : runs) output_run.clear();
    for (std::int32_t step = call.runs[run]; step > 0; --step, ++tap, w += kTile) {
      const int8x16_t weights = vld1q_s8(w);
      const std::uint8_t* x = *tap + first;
      for (int i = 0; i < kOutputs; ++i) runs[i].add(sums[i], shifted(x + i * call.x_step), weights);
    }
    for (int i = 0; i < kOutputs; ++i) runs[i].finish(sums[i]);
  }
  for (int i = 0; i < kOutputs; ++i) {
    if (call.sums)
      for (int four = 0; four < 4; ++four) vst1q_s32(call.sums + (output + i) * kTile + 4 * four, sums[i].at[four]);
    else
      vst1q_u8(call.y + (output + i) * call.y_stride, packed(call, sums[i]));
  }
}

template <typename Run>
inline void sum_line(const DepthwiseCall& at) {
  const DepthwiseCall call = at;  // a copy, so that stores to y are known not to change it
  std::int64_t output = 0;
  for (; output + kTogether <= call.outputs; output += kTogether) sum_outputs<Run, kTogether>(call, output);
  for (; output < call.outputs; ++output) sum_outputs<Run, 1>(call, output);
}

}  // namespace

void copy_pixels_neon(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride, to += kTile) vst1q_u8(to, vld1q_u8(from));
}

void depthwise_neon_acc16(const DepthwiseCall* call) { sum_line<Acc16>(*call); }
void depthwise_neon_exact(const DepthwiseCall* call) { sum_line<Exact>(*call); }

}  // namespace oaq
