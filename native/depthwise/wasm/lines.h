// How every depthwise row of WebAssembly goes through a line of outputs: sixteen channels, any window, neighbouring
// outputs together, so that weights are loaded once for all of them. Included by files built for one instruction set
// each; everything is in an unnamed namespace, so that each has its own. A file says what its arithmetic is:
//
//   Run   kTogether: outputs summed together; kTaps: of a step; kWeightBytes: of a step
//         clear(): an empty run; load(w): weights of a step; add(sums, taps, x, weights): a step, on pixels `x` bytes
//         behind each tap; finish(sums): adds the run to the s32 sums
#pragma once

#include <wasm_simd128.h>

#include "base/unrolled.h"
#include "depthwise/depthwise.h"

namespace oaq {
namespace {

constexpr int kTile = 16, kFours = 4;
constexpr float kRoundsToInteger = 12582912.0f;    // 1.5 * 2^23
constexpr std::int32_t kRoundedZero = 0x4b400000;  // its bits

struct Sums {
  v128_t at[kFours];
};

// Adds sixteen s16 to s32, in the order of channels.
inline void widen(Sums& sums, v128_t low, v128_t high) {
  sums.at[0] = wasm_i32x4_add(sums.at[0], wasm_i32x4_extend_low_i16x8(low));
  sums.at[1] = wasm_i32x4_add(sums.at[1], wasm_i32x4_extend_high_i16x8(low));
  sums.at[2] = wasm_i32x4_add(sums.at[2], wasm_i32x4_extend_low_i16x8(high));
  sums.at[3] = wasm_i32x4_add(sums.at[3], wasm_i32x4_extend_high_i16x8(high));
}

// float32(sum) * scale, clamped as floats, then rounded half to even by one addition; packing **saturates** twice and
// changes nothing.
inline v128_t packed(const DepthwiseCall& call, const Sums& sums) {
  const v128_t lo = wasm_f32x4_splat(static_cast<float>(call.lo - call.zero));
  const v128_t hi = wasm_f32x4_splat(static_cast<float>(call.hi - call.zero));
  const v128_t magic = wasm_f32x4_splat(kRoundsToInteger), zero = wasm_i32x4_splat(kRoundedZero - call.zero);
  v128_t integers[kFours];
  for (int i = 0; i < kFours; ++i) {
    const v128_t reals = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums.at[i]), wasm_v128_load(call.scale + 4 * i));
    const v128_t clamped = wasm_f32x4_pmax(wasm_f32x4_pmin(reals, hi), lo);
    integers[i] = wasm_i32x4_sub(wasm_f32x4_add(clamped, magic), zero);
  }
  return wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(integers[0], integers[1]),
                                 wasm_i16x8_narrow_i32x4(integers[2], integers[3]));
}

template <typename Run, int kOutputs>
inline void sum_outputs(const DepthwiseCall& call, std::int64_t output) {
  const auto first = static_cast<std::ptrdiff_t>(output * call.x_step),
             pitch = static_cast<std::ptrdiff_t>(call.x_step);
  const auto* w = static_cast<const std::int8_t*>(call.weights);
  const std::uint8_t* const* taps = call.x;
  Sums sums[static_cast<std::size_t>(kOutputs)];
  Run runs[static_cast<std::size_t>(kOutputs)];
  unrolled<kOutputs * kFours>(
      [&](auto i) { sums[i / kFours].at[i % kFours] = wasm_v128_load(call.bias + i % kFours * 4); });
  for (std::int32_t run = 0; run < call.run_count; ++run) {
    unrolled<kOutputs>([&](auto i) { runs[i].clear(); });
    for (std::int32_t step = call.runs[run]; step > 0; --step, taps += Run::kTaps, w += Run::kWeightBytes) {
      const auto weights = Run::load(w);
      unrolled<kOutputs>([&](auto i) { runs[i].add(sums[i], taps, first + i * pitch, weights); });
    }
    unrolled<kOutputs>([&](auto i) { runs[i].finish(sums[i]); });
  }
  unrolled<kOutputs>([&](auto i) {
    if (call.sums)
      unrolled<kFours>(
          [&](auto four) { wasm_v128_store(call.sums + (output + i) * kTile + 4 * four, sums[i].at[four]); });
    else
      wasm_v128_store(call.y + (output + i) * call.y_stride, packed(call, sums[i]));
  });
}

template <typename Run>
inline void sum_line(const DepthwiseCall& at) {
  const DepthwiseCall call = at;  // a copy, so that stores to y are known not to change it
  std::int64_t output = 0;
  for (; output + Run::kTogether <= call.outputs; output += Run::kTogether)
    sum_outputs<Run, Run::kTogether>(call, output);
  for (; output < call.outputs; ++output) sum_outputs<Run, 1>(call, output);
}

}  // namespace
}  // namespace oaq
