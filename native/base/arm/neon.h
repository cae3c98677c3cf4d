// Vectors of 16 bytes, by the instructions of NEON: the members of Ymm (base/x86/ymm.h). Included by files built for
// one instruction set each; everything is in an unnamed namespace, so that each has its own.
//
// Four vectors of s32 are in the order of memory. What x86 does with even and odd places of 64 bits, is done with lower
// and upper ones here. What is beyond s32 becomes its nearest value, where floats or s64 become s32.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace oaq {
namespace {

struct Neon {
  using Integers = uint8x16_t;
  using Floats = float32x4_t;
  using Sixteen = Neon;
  static constexpr int kBytes = 16;
  static constexpr int kWidth = 4;  // of 32 bits
  struct Fours {                    // 16 values
    Integers part[4];
  };

  static int16x8_t words(Integers value) { return vreinterpretq_s16_u8(value); }
  static uint16x8_t unsigned_words(Integers value) { return vreinterpretq_u16_u8(value); }
  static int32x4_t dwords(Integers value) { return vreinterpretq_s32_u8(value); }
  static int64x2_t qwords(Integers value) { return vreinterpretq_s64_u8(value); }
  static Integers bits(int16x8_t value) { return vreinterpretq_u8_s16(value); }
  static Integers bits(uint16x8_t value) { return vreinterpretq_u8_u16(value); }
  static Integers bits(int32x4_t value) { return vreinterpretq_u8_s32(value); }
  static Integers bits(uint32x4_t value) { return vreinterpretq_u8_u32(value); }
  static Integers bits(int64x2_t value) { return vreinterpretq_u8_s64(value); }

  static Integers load(const void* from) { return vld1q_u8(static_cast<const std::uint8_t*>(from)); }
  static Floats load_floats(const float* from) { return vld1q_f32(from); }
  static void store(void* to, Integers value) { vst1q_u8(static_cast<std::uint8_t*>(to), value); }
  static void store_floats(float* to, Floats value) { vst1q_f32(to, value); }
  static Integers zero() { return vdupq_n_u8(0); }
  static Integers all8(std::uint8_t value) { return vdupq_n_u8(value); }
  static Integers all16(std::int16_t value) { return bits(vdupq_n_s16(value)); }
  static Integers all32(std::int32_t value) { return bits(vdupq_n_s32(value)); }
  static Floats all(float value) { return vdupq_n_f32(value); }

  static Integers load_sixteens(const std::uint8_t* from, std::int64_t) { return load(from); }
  static void store_sixteens(std::uint8_t* to, std::int64_t, Integers value) { store(to, value); }
  static Integers low8(Integers a, Integers b) { return vzip1q_u8(a, b); }
  static Integers high8(Integers a, Integers b) { return vzip2q_u8(a, b); }

  static Integers max8(Integers a, Integers b) { return vmaxq_u8(a, b); }
  static Integers min8(Integers a, Integers b) { return vminq_u8(a, b); }
  static Integers shuffle8(Integers of, Integers by) { return vqtbl1q_u8(of, by); }
  static Integers bits_or(Integers a, Integers b) { return vorrq_u8(a, b); }

  static Integers add16(Integers a, Integers b) { return bits(vaddq_s16(words(a), words(b))); }
  static Integers sub16(Integers a, Integers b) { return bits(vsubq_s16(words(a), words(b))); }
  static Integers mul_low16(Integers a, Integers b) { return bits(vmulq_s16(words(a), words(b))); }
  static Integers low16(Integers bytes) { return bits(vmovl_u8(vget_low_u8(bytes))); }
  static Integers high16(Integers bytes) { return bits(vmovl_high_u8(bytes)); }
  static Integers low32(Integers value, Integers above) { return bits(vzip1q_s16(words(value), words(above))); }
  static Integers high32(Integers value, Integers above) { return bits(vzip2q_s16(words(value), words(above))); }
  static Integers low32(Integers value) { return bits(vmovl_u16(vget_low_u16(unsigned_words(value)))); }
  static Integers high32(Integers value) { return bits(vmovl_high_u16(unsigned_words(value))); }
  static Integers low_products(Integers a, Integers b) {
    return bits(vmull_s16(vget_low_s16(words(a)), vget_low_s16(words(b))));
  }
  static Integers high_products(Integers a, Integers b) { return bits(vmull_high_s16(words(a), words(b))); }
  static Fours unpack(Integers bytes, Integers above) {
    const Integers low = low16(bytes), high = high16(bytes);
    return {{low32(low, above), high32(low, above), low32(high, above), high32(high, above)}};
  }
  static Fours unpack(Integers bytes) {
    const Integers low = low16(bytes), high = high16(bytes);
    return {{low32(low), high32(low), low32(high), high32(high)}};
  }
  static Integers pack(const Fours& fours, Integers add) {
    const int16x8_t low = vqmovn_high_s32(vqmovn_s32(dwords(fours.part[0])), dwords(fours.part[1]));
    const int16x8_t high = vqmovn_high_s32(vqmovn_s32(dwords(fours.part[2])), dwords(fours.part[3]));
    return vqmovun_high_s16(vqmovun_s16(vqaddq_s16(low, words(add))), vqaddq_s16(high, words(add)));
  }
  static Integers pack_bytes(const Fours& fours) {
    const int16x8_t low = vuzp1q_s16(words(fours.part[0]), words(fours.part[1]));
    const int16x8_t high = vuzp1q_s16(words(fours.part[2]), words(fours.part[3]));
    return vuzp1q_u8(bits(low), bits(high));
  }
  static Fours in_order(const Fours& fours) { return fours; }
  static Fours from_order(const Fours& fours) { return fours; }
  static Integers rows_in_order(Integers packed) { return packed; }
  static Integers load_some(const std::int32_t* from, std::int64_t count) {
    std::int32_t some[kWidth] = {};
    std::memcpy(some, from, static_cast<std::size_t>(count) * sizeof(std::int32_t));
    return load(some);
  }
  static Integers widen(const std::uint8_t* from) {
    std::uint32_t four;
    std::memcpy(&four, from, sizeof four);
    return low32(low16(bits(vdupq_n_u32(four))));
  }

  static Integers add(Integers a, Integers b) { return bits(vaddq_s32(dwords(a), dwords(b))); }
  static Integers sub(Integers a, Integers b) { return bits(vsubq_s32(dwords(a), dwords(b))); }
  static Integers mul(Integers a, Integers b) { return bits(vmulq_s32(dwords(a), dwords(b))); }
  template <int kBits>
  static Integers halved_up(Integers value) {
    return bits(vrshrq_n_s32(dwords(value), kBits));
  }
  static Integers right(Integers value, int by) { return bits(vshlq_s32(dwords(value), vdupq_n_s32(-by))); }

  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats to_floats(Integers value) { return vcvtq_f32_s32(dwords(value)); }
  static Floats as_floats(Integers value) { return vreinterpretq_f32_u8(value); }
  template <bool kFits>
  static Integers nearest(Floats value, Floats, Floats) {
    return bits(vcvtnq_s32_f32(value));
  }

  static constexpr int kMixed = kBytes;
  struct Weights {
    uint16x8_t first, second;
    Weights(std::int32_t a, std::int32_t b)
        : first(vdupq_n_u16(static_cast<std::uint16_t>(a))), second(vdupq_n_u16(static_cast<std::uint16_t>(b))) {}
  };
  static void store_mixed(std::int32_t* to, const std::uint8_t* first, const std::uint8_t* second, const Weights& by) {
    const Integers a = load(first), b = load(second);
    store_eight(to, unsigned_words(low16(a)), unsigned_words(low16(b)), by);
    store_eight(to + 8, unsigned_words(high16(a)), unsigned_words(high16(b)), by);
  }
  static void store_eight(std::int32_t* to, uint16x8_t a, uint16x8_t b, const Weights& by) {
    const uint32x4_t low =
        vmlal_u16(vmull_u16(vget_low_u16(a), vget_low_u16(by.first)), vget_low_u16(b), vget_low_u16(by.second));
    store(to, bits(low));
    store(to + kWidth, bits(vmlal_high_u16(vmull_high_u16(a, by.first), b, by.second)));
  }

  static Integers mul_even(Integers a, Integers b) {
    return bits(vmull_s32(vget_low_s32(dwords(a)), vget_low_s32(dwords(b))));
  }
  static Integers odd_as_even(Integers value) { return vextq_u8(value, value, 8); }
  static Integers even_as64(Integers value) { return bits(vmovl_s32(vget_low_s32(dwords(value)))); }
  struct HalfUp {
    int64x2_t down;
    explicit HalfUp(Integers by) : down(vnegq_s64(qwords(by))) {}
    Integers operator()(Integers value) const { return bits(vrshlq_s64(qwords(value), down)); }
  };
  // A value below 0 is rounded half up one lower, unless it is divided by 1.
  struct HalfAway {
    int64x2_t down;
    explicit HalfAway(Integers by) : down(vnegq_s64(qwords(by))) {}
    Integers operator()(Integers value) const {
      const int64x2_t one_lower = vshrq_n_s64(vandq_s64(qwords(value), down), 63);
      return bits(vrshlq_s64(vaddq_s64(qwords(value), one_lower), down));
    }
  };
  static Integers clamp64(Integers value, std::int64_t) { return value; }
  static Integers joined(Integers even, Integers odd) {
    return bits(vqmovn_high_s64(vqmovn_s64(qwords(even)), qwords(odd)));
  }
};

}  // namespace
}  // namespace oaq
