// How the s32 sums of a tile leave the matrix rows of WebAssembly: as they are, or requantized in one of the ways.
//
//   general  4 x float32   s32 to float32, times a multiplier below 1, each rounded once; clamped, then half to even
//   floats   4 x float32   sums are bits of floats (requantize/as_floats.h): less 2^23 they are the sums themselves,
//                          exactly, or at most 0 where the sum is; the rest as before. WebAssembly has no fused product
//                          and sum that is the same on every CPU.
//   words    8 x s16       sums **saturated** to s16; q15mulr rounds half up (requantize/in_words.h)
//
// Half to even is one addition: a float32 of [-255, 255] plus 1.5 * 2^23 is rounded to an integer, which its low bits
// are. After that all are packed to s16 and to u8: both **saturate**, which changes nothing that the clamp keeps.
// Included by files built for one instruction set each; everything is in an unnamed namespace, so that each has its
// own.
#pragma once

#include <wasm_simd128.h>

#include "base/unrolled.h"
#include "gemm/gemm.h"
#include "requantize/as_floats.h"

namespace oaq {
namespace {

constexpr float kRoundsToInteger = 12582912.0f;    // 1.5 * 2^23
constexpr std::int32_t kRoundedZero = 0x4b400000;  // its bits

// The numbers of a call that every output shares.
struct Numbers {
  v128_t lo, hi;       // of the clamp less the zero point, as floats
  v128_t zero;         // bits of a rounded 0 less the zero point
  v128_t least, most;  // of the clamp, as bytes
  v128_t moved;        // the zero point, as words

  explicit Numbers(std::int32_t clamp_lo, std::int32_t clamp_hi, std::int32_t zero_point)
      : lo(wasm_f32x4_splat(static_cast<float>(clamp_lo - zero_point))),
        hi(wasm_f32x4_splat(static_cast<float>(clamp_hi - zero_point))),
        zero(wasm_i32x4_splat(kRoundedZero - zero_point)),
        least(wasm_i8x16_splat(static_cast<std::int8_t>(clamp_lo))),
        most(wasm_i8x16_splat(static_cast<std::int8_t>(clamp_hi))),
        moved(wasm_i16x8_splat(static_cast<std::int16_t>(zero_point))) {}
};

// Four float32 results as integers with their zero point.
inline v128_t rounded(v128_t reals, const Numbers& numbers) {
  const v128_t clamped = wasm_f32x4_pmax(wasm_f32x4_pmin(reals, numbers.hi), numbers.lo);
  return wasm_i32x4_sub(wasm_f32x4_add(clamped, wasm_f32x4_splat(kRoundsToInteger)), numbers.zero);
}

// Two fours of sums as eight s16 in the clamp.
struct General {
  static v128_t eight(const GemmCall& call, const Numbers& numbers, v128_t a, v128_t b, int at_a, int at_b) {
    return wasm_i16x8_narrow_i32x4(four(call, numbers, a, at_a), four(call, numbers, b, at_b));
  }
  static v128_t four(const GemmCall& call, const Numbers& numbers, v128_t sums, int at) {
    return rounded(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums), wasm_v128_load(call.scale + at)), numbers);
  }
};

struct Floats {
  static v128_t eight(const GemmCall& call, const Numbers& numbers, v128_t a, v128_t b, int at_a, int at_b) {
    return wasm_i16x8_narrow_i32x4(four(call, numbers, a, at_a), four(call, numbers, b, at_b));
  }
  static v128_t four(const GemmCall& call, const Numbers& numbers, v128_t sums, int at) {
    const v128_t reals = wasm_f32x4_sub(sums, wasm_f32x4_splat(kFloatValue));
    return rounded(wasm_f32x4_mul(reals, wasm_v128_load(call.scale + at)), numbers);
  }
};

struct Words {
  static v128_t eight(const GemmCall& call, const Numbers&, v128_t a, v128_t b, int at_a, int at_b) {
    const v128_t by =
        wasm_i64x2_shuffle(wasm_v128_load64_zero(call.words + at_a), wasm_v128_load64_zero(call.words + at_b), 0, 2);
    return multiplied(wasm_i16x8_narrow_i32x4(a, b), by);
  }
  // Multipliers are at least 0: the one product that the relaxed instruction leaves open, of two -2^15, does not occur.
  static v128_t multiplied(v128_t words, v128_t by) {
#ifdef __wasm_relaxed_simd__
    return wasm_i16x8_relaxed_q15mulr(words, by);
#else
    return wasm_i16x8_q15mulr_sat(words, by);
#endif
  }
};

struct MovedWords {
  static v128_t eight(const GemmCall& call, const Numbers& numbers, v128_t a, v128_t b, int at_a, int at_b) {
    return wasm_i16x8_add_sat(Words::eight(call, numbers, a, b, at_a, at_b), numbers.moved);
  }
};

// (rows, outputs) sums, four outputs in each register, as bytes at y.
template <typename Rounding, int kRows, int kFours>
inline void leave_as_bytes(const GemmCall& call, const Grid<v128_t, kRows, kFours>& sums, std::uint8_t* y) {
  const Numbers numbers(call.lo, call.hi, call.zero);
  constexpr int kAll = kRows * kFours;
  unrolled<(kAll + 1) / 2>([&](auto pair) {
    constexpr int a = 2 * pair, b = a + 1 < kAll ? a + 1 : a;
    const v128_t words = Rounding::eight(call, numbers, sums.at[a / kFours][a % kFours],
                                         sums.at[b / kFours][b % kFours], 4 * (a % kFours), 4 * (b % kFours));
    const v128_t packed = wasm_u8x16_narrow_i16x8(words, words);
    const v128_t bytes = wasm_u8x16_min(wasm_u8x16_max(packed, numbers.least), numbers.most);
    std::uint8_t* to = y + a / kFours * call.y_stride + 4 * (a % kFours);
    if constexpr (a / kFours == b / kFours && a != b) {
      wasm_v128_store64_lane(to, bytes, 0);
    } else {
      wasm_v128_store32_lane(to, bytes, 0);
      if constexpr (a != b) wasm_v128_store32_lane(y + b / kFours * call.y_stride + 4 * (b % kFours), bytes, 1);
    }
  });
}

// Sums that stay are (rows, kTile) in memory.
template <int kTile, int kRows, int kFours>
inline void leave(const GemmCall& call, const Grid<v128_t, kRows, kFours>& sums, std::uint8_t* y) {
  if (!y) {
    unrolled<kRows * kFours>([&](auto i) {
      wasm_v128_store(call.sums + i / kFours * kTile + i % kFours * 4, sums.at[i / kFours][i % kFours]);
    });
    return;
  }
  if (call.way == Way::kWords)
    leave_as_bytes<Words>(call, sums, y);
  else if (call.way == Way::kMovedWords)
    leave_as_bytes<MovedWords>(call, sums, y);
  else if (call.way == Way::kFloats)
    leave_as_bytes<Floats>(call, sums, y);
  else
    leave_as_bytes<General>(call, sums, y);
}

}  // namespace
}  // namespace oaq
