// Add on WebAssembly's SIMD128.
//
//   terms   4 x float32   (a - a_zero) * a_scale    each product rounded once, half to even
//   sums    4 x s32       clamped, then rounded half to even by adding 1.5 * 2^23
//   fixed   4 x s32       (a - a_zero) * a_factor + (b - b_zero) * b_factor + half, shifted   **exact**: proved in s32
//   bytes   8 x u8        packed through s16         **saturates** twice, which changes nothing that the clamp keeps
#include <wasm_simd128.h>

#include "steps/add.h"

namespace oaq {
namespace {

constexpr float kRoundsToInteger = 12582912.0f;    // 1.5 * 2^23
constexpr std::int32_t kRoundedZero = 0x4b400000;  // its bits

struct Fours {
  v128_t low, high;
};

// Eight of x as x - zero.
inline Fours centred(const std::uint8_t* x, v128_t zero) {
  const v128_t wide = wasm_u16x8_load8x8(x);
  return {wasm_i32x4_sub(wasm_u32x4_extend_low_u16x8(wide), zero),
          wasm_i32x4_sub(wasm_u32x4_extend_high_u16x8(wide), zero)};
}

// Packs and clamps eight sums at a time; `sum(left, right)` are four, zero point included, of four less their zeros.
template <typename Sum>
inline std::size_t store_sums(const std::uint8_t* a, const std::uint8_t* b, std::size_t count,
                              const AddNumbers& numbers, std::uint8_t* y, Sum sum) {
  const v128_t a_zero = wasm_i32x4_splat(numbers.a_zero), b_zero = wasm_i32x4_splat(numbers.b_zero);
  const v128_t lo = wasm_u8x16_splat(numbers.clamp_lo), hi = wasm_u8x16_splat(numbers.clamp_hi);
  std::size_t at = 0;
  for (; at + 8 <= count; at += 8) {
    const Fours left = centred(a + at, a_zero), right = centred(b + at, b_zero);
    const v128_t words = wasm_i16x8_narrow_i32x4(sum(left.low, right.low), sum(left.high, right.high));
    const v128_t bytes = wasm_u8x16_min(wasm_u8x16_max(wasm_u8x16_narrow_i16x8(words, words), lo), hi);
    wasm_v128_store64_lane(y + at, bytes, 0);
  }
  return at;
}

// Shifted sums are below 2^31 in magnitude, and a zero point may leave s32: it is added where it cannot.
std::size_t add_fixed(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                      std::uint8_t* y) {
  const v128_t a_factor = wasm_i32x4_splat(numbers.a_factor), b_factor = wasm_i32x4_splat(numbers.b_factor);
  const v128_t half = wasm_i32x4_splat(numbers.half), zero = wasm_i32x4_splat(numbers.zero);
  const auto shift = static_cast<std::uint32_t>(numbers.shift);  // at least 1, so that a zero point fits beside it
  const auto sum = [&](v128_t left, v128_t right) {
    const v128_t products = wasm_i32x4_add(wasm_i32x4_mul(left, a_factor), wasm_i32x4_mul(right, b_factor));
    return wasm_i32x4_add(wasm_i32x4_shr(wasm_i32x4_add(products, half), shift), zero);
  };
  return store_sums(a, b, count, numbers, y, sum);
}

}  // namespace

std::size_t add_simd128(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                        std::uint8_t* y) {
  if (numbers.shift) return add_fixed(a, b, count, numbers, y);
  const v128_t a_scale = wasm_f32x4_splat(numbers.a_scale), b_scale = wasm_f32x4_splat(numbers.b_scale);
  const v128_t lo = wasm_f32x4_splat(static_cast<float>(numbers.clamp_lo - numbers.zero));
  const v128_t hi = wasm_f32x4_splat(static_cast<float>(numbers.clamp_hi - numbers.zero));
  const v128_t magic = wasm_f32x4_splat(kRoundsToInteger), zero = wasm_i32x4_splat(kRoundedZero - numbers.zero);
  const auto sum = [&](v128_t left, v128_t right) {
    const v128_t real = wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(left), a_scale),
                                       wasm_f32x4_mul(wasm_f32x4_convert_i32x4(right), b_scale));
    return wasm_i32x4_sub(wasm_f32x4_add(wasm_f32x4_pmax(wasm_f32x4_pmin(real, hi), lo), magic), zero);
  };
  return store_sums(a, b, count, numbers, y, sum);
}

}  // namespace oaq
