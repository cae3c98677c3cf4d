// How the s32 sums of a tile leave the matrix rows of Arm: as they are, or requantized in one of the ways.
//
//   general  4 x float32   s32 to float32, times a multiplier below 1, each rounded once; then half to even to s32
//   floats   4 x float32   sums are bits of floats (requantize/as_floats.h): one fused product and sum, rounded once
//   words    8 x s16       sums **saturated** to s16; sqrdmulh rounds half up (requantize/in_words.h)
//
// After that all are packed to s16 and moved by the zero point, then packed to u8: both **saturate**, which changes
// nothing that the clamp keeps. Included by files built for one instruction set each; everything is in an unnamed
// namespace, so that each has its own.
#pragma once

#include <arm_neon.h>

#include "base/unrolled.h"
#include "gemm/gemm.h"

namespace oaq {
namespace {

// Two fours of neighbouring sums as eight s16 before the zero point.
struct General {
  static int16x8_t eight(const GemmCall& call, int32x4_t a, int32x4_t b, int at_a, int at_b) {
    return vcombine_s16(four(call, a, at_a), four(call, b, at_b));
  }
  static int16x4_t four(const GemmCall& call, int32x4_t sums, int at) {
    return vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), vld1q_f32(call.scale + at))));
  }
};

struct Floats {
  static int16x8_t eight(const GemmCall& call, int32x4_t a, int32x4_t b, int at_a, int at_b) {
    return vcombine_s16(four(call, a, at_a), four(call, b, at_b));
  }
  static int16x4_t four(const GemmCall& call, int32x4_t sums, int at) {
    const float32x4_t addend = vld1q_f32(call.addend + at), scale = vld1q_f32(call.scale + at);
    return vqmovn_s32(vcvtnq_s32_f32(vfmaq_f32(addend, vreinterpretq_f32_s32(sums), scale)));
  }
};

struct Words {
  static int16x8_t eight(const GemmCall& call, int32x4_t a, int32x4_t b, int at_a, int at_b) {
    const int16x8_t by = vcombine_s16(vld1_s16(call.words + at_a), vld1_s16(call.words + at_b));
    return vqrdmulhq_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)), by);
  }
};

inline void store_four(std::uint8_t* y, uint32x2_t bytes, int half) {
  const std::uint32_t four = half ? vget_lane_u32(bytes, 1) : vget_lane_u32(bytes, 0);
  __builtin_memcpy(y, &four, sizeof four);
}

// (rows, outputs) sums, four outputs in each register, as bytes at call.y.
template <typename Rounding, int kRows, int kFours>
inline void leave_as_bytes(const GemmCall& call, const Grid<int32x4_t, kRows, kFours>& sums, std::uint8_t* y) {
  const int16x8_t zero = vdupq_n_s16(static_cast<std::int16_t>(call.zero));
  const uint8x8_t lo = vdup_n_u8(static_cast<std::uint8_t>(call.lo)),
                  hi = vdup_n_u8(static_cast<std::uint8_t>(call.hi));
  constexpr int kAll = kRows * kFours;
  unrolled<(kAll + 1) / 2>([&](auto pair) {
    constexpr int a = 2 * pair, b = a + 1 < kAll ? a + 1 : a;
    const int16x8_t words = Rounding::eight(call, sums.at[a / kFours][a % kFours], sums.at[b / kFours][b % kFours],
                                            4 * (a % kFours), 4 * (b % kFours));
    const uint8x8_t bytes = vmin_u8(vmax_u8(vqmovun_s16(vqaddq_s16(words, zero)), lo), hi);
    std::uint8_t* to = y + a / kFours * call.y_stride + 4 * (a % kFours);
    if constexpr (a / kFours == b / kFours && a != b) {
      vst1_u8(to, bytes);
    } else {
      store_four(to, vreinterpret_u32_u8(bytes), 0);
      if constexpr (a != b)
        store_four(y + b / kFours * call.y_stride + 4 * (b % kFours), vreinterpret_u32_u8(bytes), 1);
    }
  });
}

// Sums that stay are (rows, kTile) in memory.
template <int kTile, int kRows, int kFours>
inline void leave(const GemmCall& call, const Grid<int32x4_t, kRows, kFours>& sums, std::uint8_t* y) {
  if (!y) {
    unrolled<kRows * kFours>(
        [&](auto i) { vst1q_s32(call.sums + i / kFours * kTile + i % kFours * 4, sums.at[i / kFours][i % kFours]); });
    return;
  }
  if (is_in_words(call.way))
    leave_as_bytes<Words>(call, sums, y);
  else if (call.way == Way::kFloats)
    leave_as_bytes<Floats>(call, sums, y);
  else
    leave_as_bytes<General>(call, sums, y);
}

}  // namespace
}  // namespace oaq
