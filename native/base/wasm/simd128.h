// Vectors of 16 bytes, by the instructions of WebAssembly's SIMD128: the members of Ymm (base/x86/ymm.h). Included by
// files built for one instruction set each; everything is in an unnamed namespace, so that each has its own.
//
// Four vectors of s32 are in the order of memory. What x86 does with even and odd places of 64 bits, is done with lower
// and upper ones here.
#pragma once

#include <wasm_simd128.h>

#include <cstdint>
#include <cstring>

namespace oaq {
namespace {

struct Simd128 {
  using Integers = v128_t;
  struct Floats {
    v128_t of;
  };
  using Sixteen = Simd128;
  static constexpr int kBytes = 16;
  static constexpr int kWidth = 4;  // of 32 bits
  struct Fours {                    // 16 values
    Integers part[4];
  };

  static Integers load(const void* from) { return wasm_v128_load(from); }
  static Floats load_floats(const float* from) { return {wasm_v128_load(from)}; }
  static void store(void* to, Integers value) { wasm_v128_store(to, value); }
  static void store_floats(float* to, Floats value) { wasm_v128_store(to, value.of); }
  static Integers zero() { return wasm_i64x2_const(0, 0); }
  static Integers all8(std::uint8_t value) { return wasm_u8x16_splat(value); }
  static Integers all16(std::int16_t value) { return wasm_i16x8_splat(value); }
  static Integers all32(std::int32_t value) { return wasm_i32x4_splat(value); }
  static Floats all(float value) { return {wasm_f32x4_splat(value)}; }

  static Integers low8(Integers a, Integers b) {
    return wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }
  static Integers high8(Integers a, Integers b) {
    return wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }

  static Integers max8(Integers a, Integers b) { return wasm_u8x16_max(a, b); }
  static Integers min8(Integers a, Integers b) { return wasm_u8x16_min(a, b); }
  static Integers shuffle8(Integers of, Integers by) { return wasm_i8x16_swizzle(of, by); }
  static Integers bits_or(Integers a, Integers b) { return wasm_v128_or(a, b); }

  static Integers add16(Integers a, Integers b) { return wasm_i16x8_add(a, b); }
  static Integers sub16(Integers a, Integers b) { return wasm_i16x8_sub(a, b); }
  static Integers mul_low16(Integers a, Integers b) { return wasm_i16x8_mul(a, b); }
  static Integers low16(Integers bytes) { return wasm_u16x8_extend_low_u8x16(bytes); }
  static Integers high16(Integers bytes) { return wasm_u16x8_extend_high_u8x16(bytes); }
  static Integers low32(Integers words, Integers above) {
    return wasm_i16x8_shuffle(words, above, 0, 8, 1, 9, 2, 10, 3, 11);
  }
  static Integers high32(Integers words, Integers above) {
    return wasm_i16x8_shuffle(words, above, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  static Integers low32(Integers words) { return wasm_u32x4_extend_low_u16x8(words); }
  static Integers high32(Integers words) { return wasm_u32x4_extend_high_u16x8(words); }
  static Integers low_products(Integers a, Integers b) { return wasm_i32x4_extmul_low_i16x8(a, b); }
  static Integers high_products(Integers a, Integers b) { return wasm_i32x4_extmul_high_i16x8(a, b); }
  static Fours unpack(Integers bytes, Integers above) {
    const Integers low = low16(bytes), high = high16(bytes);
    return {{low32(low, above), high32(low, above), low32(high, above), high32(high, above)}};
  }
  static Fours unpack(Integers bytes) {
    const Integers low = low16(bytes), high = high16(bytes);
    return {{low32(low), high32(low), low32(high), high32(high)}};
  }
  static Integers pack(const Fours& fours, Integers add) {
    const Integers low = wasm_i16x8_narrow_i32x4(fours.part[0], fours.part[1]);
    const Integers high = wasm_i16x8_narrow_i32x4(fours.part[2], fours.part[3]);
    return wasm_u8x16_narrow_i16x8(wasm_i16x8_add_sat(low, add), wasm_i16x8_add_sat(high, add));
  }
  static Integers pack_bytes(const Fours& fours) {
    return wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(fours.part[0], fours.part[1]),
                                   wasm_i16x8_narrow_i32x4(fours.part[2], fours.part[3]));
  }
  static Fours in_order(const Fours& fours) { return fours; }
  static Fours from_order(const Fours& fours) { return fours; }
  static Integers rows_in_order(Integers packed) { return packed; }
  static Integers load_some(const std::int32_t* from, std::int64_t count) {
    std::int32_t some[kWidth] = {};
    std::memcpy(some, from, static_cast<std::size_t>(count) * sizeof(std::int32_t));
    return load(some);
  }
  static Integers widen(const std::uint8_t* from) { return low32(low16(wasm_v128_load32_zero(from))); }

  static Integers add(Integers a, Integers b) { return wasm_i32x4_add(a, b); }
  static Integers sub(Integers a, Integers b) { return wasm_i32x4_sub(a, b); }
  static Integers mul(Integers a, Integers b) { return wasm_i32x4_mul(a, b); }
  template <int kBits>
  static Integers halved_up(Integers value) {
    return wasm_i32x4_shr(add(value, all32(1 << (kBits - 1))), kBits);
  }
  static Integers right(Integers value, int bits) { return wasm_i32x4_shr(value, static_cast<std::uint32_t>(bits)); }

  static Floats add(Floats a, Floats b) { return {wasm_f32x4_add(a.of, b.of)}; }
  static Floats sub(Floats a, Floats b) { return {wasm_f32x4_sub(a.of, b.of)}; }
  static Floats mul(Floats a, Floats b) { return {wasm_f32x4_mul(a.of, b.of)}; }
  static Floats to_floats(Integers value) { return {wasm_f32x4_convert_i32x4(value)}; }
  static Floats as_floats(Integers bits) { return {bits}; }
  // Of [lo, hi] inside [-255, 255]: half to even by one addition of 1.5 * 2^23, whose sum has the integer as low bits.
  template <bool kFits>
  static Integers nearest(Floats value, Floats lo, Floats hi) {
    constexpr float kRoundsToInteger = 12582912.0f;
    constexpr std::int32_t kRoundedZero = 0x4b400000;
    const v128_t clamped = wasm_f32x4_pmax(wasm_f32x4_pmin(value.of, hi.of), lo.of);
    return wasm_i32x4_sub(wasm_f32x4_add(clamped, wasm_f32x4_splat(kRoundsToInteger)), all32(kRoundedZero));
  }

  static constexpr int kMixed = kBytes;
  struct Weights {
    v128_t both;
    Weights(std::int32_t first, std::int32_t second) : both(all32((second << 16) | first)) {}
  };
  static void store_mixed(std::int32_t* to, const std::uint8_t* first, const std::uint8_t* second, const Weights& by) {
    const Integers a = load(first), b = load(second), low = low8(a, b), high = high8(a, b);
    store(to, wasm_i32x4_dot_i16x8(low16(low), by.both));
    store(to + kWidth, wasm_i32x4_dot_i16x8(high16(low), by.both));
    store(to + 2 * kWidth, wasm_i32x4_dot_i16x8(low16(high), by.both));
    store(to + 3 * kWidth, wasm_i32x4_dot_i16x8(high16(high), by.both));
  }

  static Integers mul_even(Integers a, Integers b) { return wasm_i64x2_extmul_low_i32x4(a, b); }
  static Integers odd_as_even(Integers value) { return wasm_i64x2_shuffle(value, value, 1, 1); }
  static Integers even_as64(Integers value) { return wasm_i64x2_extend_low_i32x4(value); }
  // There are shifts by one number only: where both places have another, they are shifted one by one.
  struct HalfUp {
    std::int64_t bits[2];
    v128_t half;
    explicit HalfUp(Integers by)
        : bits{wasm_i64x2_extract_lane(by, 0), wasm_i64x2_extract_lane(by, 1)},
          half(wasm_i64x2_make(half_of(bits[0]), half_of(bits[1]))) {}
    Integers operator()(Integers value) const { return right(wasm_i64x2_add(value, half), bits); }
  };
  struct HalfAway {
    std::int64_t bits[2];
    v128_t half;
    explicit HalfAway(Integers by)
        : bits{wasm_i64x2_extract_lane(by, 0), wasm_i64x2_extract_lane(by, 1)},
          half(wasm_i64x2_make(half_of(bits[0]), half_of(bits[1]))) {}
    Integers operator()(Integers value) const {
      const v128_t sign = wasm_i64x2_shr(value, 63);
      const v128_t magnitude = wasm_i64x2_sub(wasm_v128_xor(value, sign), sign);
      return wasm_i64x2_sub(wasm_v128_xor(right(wasm_i64x2_add(magnitude, half), bits), sign), sign);
    }
  };
  static std::int64_t half_of(std::int64_t bits) { return (std::int64_t{1} << bits) >> 1; }
  static v128_t right(v128_t value, const std::int64_t (&bits)[2]) {
    if (bits[0] == bits[1]) return wasm_i64x2_shr(value, static_cast<std::uint32_t>(bits[0]));
    return wasm_i64x2_make(wasm_i64x2_extract_lane(value, 0) >> bits[0], wasm_i64x2_extract_lane(value, 1) >> bits[1]);
  }
  static Integers clamp64(Integers value, std::int64_t ends) {
    const v128_t hi = wasm_i64x2_splat(ends), lo = wasm_i64x2_splat(-ends);
    const v128_t below = wasm_v128_bitselect(hi, value, wasm_i64x2_gt(value, hi));
    return wasm_v128_bitselect(lo, below, wasm_i64x2_gt(lo, below));
  }
  static Integers joined(Integers even, Integers odd) { return wasm_i32x4_shuffle(even, odd, 0, 2, 4, 6); }
};

}  // namespace
}  // namespace oaq
