// Add on NEON.
//
//   terms   4 x float32   (a - a_zero) * a_scale    each product rounded once, half to even
//   sums    4 x s32       rounded half to even       exact: scales are so small that no sum leaves s32
//   fixed   4 x s32       (a - a_zero) * a_factor + (b - b_zero) * b_factor + half, shifted   **exact**: proved in s32
//   bytes   8 x u8        packed through s16         **saturates** twice, which changes nothing that the clamp keeps
#include <arm_neon.h>

#include "steps/add.h"

namespace oaq {
namespace {

struct Fours {
  int32x4_t low, high;
};

// Eight of x as x - zero.
inline Fours centred(const std::uint8_t* x, int32x4_t zero) {
  const int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(x)));
  return {vsubq_s32(vmovl_s16(vget_low_s16(wide)), zero), vsubq_s32(vmovl_high_s16(wide), zero)};
}

// Packs, moves by the zero point and clamps eight sums at a time; `sum(left, right)` are four, of four less their
// zeros.
template <typename Sum>
inline std::size_t store_sums(const std::uint8_t* a, const std::uint8_t* b, std::size_t count,
                              const AddNumbers& numbers, std::uint8_t* y, Sum sum) {
  const int32x4_t a_zero = vdupq_n_s32(numbers.a_zero), b_zero = vdupq_n_s32(numbers.b_zero);
  const int16x8_t zero = vdupq_n_s16(static_cast<std::int16_t>(numbers.zero));
  const uint8x8_t lo = vdup_n_u8(numbers.clamp_lo), hi = vdup_n_u8(numbers.clamp_hi);
  std::size_t at = 0;
  for (; at + 8 <= count; at += 8) {
    const Fours left = centred(a + at, a_zero), right = centred(b + at, b_zero);
    const int16x8_t words = vcombine_s16(vqmovn_s32(sum(left.low, right.low)), vqmovn_s32(sum(left.high, right.high)));
    vst1_u8(y + at, vmin_u8(vmax_u8(vqmovun_s16(vqaddq_s16(words, zero)), lo), hi));
  }
  return at;
}

std::size_t add_fixed(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                      std::uint8_t* y) {
  const int32x4_t a_factor = vdupq_n_s32(numbers.a_factor), b_factor = vdupq_n_s32(numbers.b_factor);
  const int32x4_t half = vdupq_n_s32(numbers.half), shift = vdupq_n_s32(-numbers.shift);  // to the right
  const auto sum = [&](int32x4_t left, int32x4_t right) {
    return vshlq_s32(vaddq_s32(vaddq_s32(vmulq_s32(left, a_factor), vmulq_s32(right, b_factor)), half), shift);
  };
  return store_sums(a, b, count, numbers, y, sum);
}

}  // namespace

std::size_t add_neon(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                     std::uint8_t* y) {
  if (numbers.shift) return add_fixed(a, b, count, numbers, y);
  const float32x4_t a_scale = vdupq_n_f32(numbers.a_scale), b_scale = vdupq_n_f32(numbers.b_scale);
  const auto sum = [&](int32x4_t left, int32x4_t right) {  // two products and a sum: fused, it would be another number
    const float32x4_t real = vmulq_f32(vcvtq_f32_s32(left), a_scale);
    return vcvtnq_s32_f32(vaddq_f32(real, vmulq_f32(vcvtq_f32_s32(right), b_scale)));
  };
  return store_sums(a, b, count, numbers, y, sum);
}

}  // namespace oaq
