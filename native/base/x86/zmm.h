// Vectors of 64 bytes, by the instructions of AVX-512 (F, BW, VL, DQ): the members of Ymm (base/x86/ymm.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "base/x86/xmm.h"

namespace oaq {
namespace {

struct Zmm {
  using Integers = __m512i;
  using Floats = __m512;
  using Sixteen = Xmm;
  static constexpr int kBytes = 64;
  static constexpr int kWidth = 16;
  struct Fours {  // 64 values
    Integers part[4];
  };

  static Integers load(const void* from) { return _mm512_loadu_si512(from); }
  static Floats load_floats(const float* from) { return _mm512_loadu_ps(from); }
  static void store(void* to, Integers value) { _mm512_storeu_si512(to, value); }
  static void store_floats(float* to, Floats value) { _mm512_storeu_ps(to, value); }
  static Integers zero() { return _mm512_setzero_si512(); }
  static Integers all8(std::uint8_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  static Integers all16(std::int16_t value) { return _mm512_set1_epi16(value); }
  static Integers all32(std::int32_t value) { return _mm512_set1_epi32(value); }
  static Integers all64(std::int64_t value) { return _mm512_set1_epi64(value); }
  static Floats all(float value) { return _mm512_set1_ps(value); }
  static Integers repeat16(const void* from) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(from)));
  }

  static Integers load_sixteens(const std::uint8_t* from, std::int64_t apart) {
    const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * apart)); };
    Integers value = _mm512_castsi128_si512(part(0));
    value = _mm512_inserti32x4(value, part(1), 1);
    value = _mm512_inserti32x4(value, part(2), 2);
    return _mm512_inserti32x4(value, part(3), 3);
  }
  static void store_sixteens(std::uint8_t* to, std::int64_t apart, Integers value) {
    const auto part = [&](int i) { return reinterpret_cast<__m128i*>(to + i * apart); };
    _mm_storeu_si128(part(0), _mm512_castsi512_si128(value));
    _mm_storeu_si128(part(1), _mm512_extracti32x4_epi32(value, 1));
    _mm_storeu_si128(part(2), _mm512_extracti32x4_epi32(value, 2));
    _mm_storeu_si128(part(3), _mm512_extracti32x4_epi32(value, 3));
  }
  static Integers low8(Integers a, Integers b) { return _mm512_unpacklo_epi8(a, b); }
  static Integers high8(Integers a, Integers b) { return _mm512_unpackhi_epi8(a, b); }

  static Integers max8(Integers a, Integers b) { return _mm512_max_epu8(a, b); }
  static Integers min8(Integers a, Integers b) { return _mm512_min_epu8(a, b); }
  static Integers sub_saturated8(Integers a, Integers b) { return _mm512_subs_epi8(a, b); }
  static Integers shuffle8(Integers of, Integers by) { return _mm512_shuffle_epi8(of, by); }
  static Integers bits_xor(Integers a, Integers b) { return _mm512_xor_si512(a, b); }
  static Integers bits_or(Integers a, Integers b) { return _mm512_or_si512(a, b); }

  static Integers add16(Integers a, Integers b) { return _mm512_add_epi16(a, b); }
  static Integers sub16(Integers a, Integers b) { return _mm512_sub_epi16(a, b); }
  static Integers mul_low16(Integers a, Integers b) { return _mm512_mullo_epi16(a, b); }
  static Integers low16(Integers bytes) { return _mm512_unpacklo_epi8(bytes, zero()); }
  static Integers high16(Integers bytes) { return _mm512_unpackhi_epi8(bytes, zero()); }
  static Integers low32(Integers words, Integers above) { return _mm512_unpacklo_epi16(words, above); }
  static Integers high32(Integers words, Integers above) { return _mm512_unpackhi_epi16(words, above); }
  static Integers low32(Integers words) { return low32(words, zero()); }
  static Integers high32(Integers words) { return high32(words, zero()); }
  static Integers low_products(Integers a, Integers b) { return low32(mul_low16(a, b), _mm512_mulhi_epi16(a, b)); }
  static Integers high_products(Integers a, Integers b) { return high32(mul_low16(a, b), _mm512_mulhi_epi16(a, b)); }
  static Fours unpack(Integers bytes, Integers above) {
    const Integers low = low16(bytes), high = high16(bytes);
    return {{low32(low, above), high32(low, above), low32(high, above), high32(high, above)}};
  }
  static Fours unpack(Integers bytes) { return unpack(bytes, zero()); }
  static Integers pack(const Fours& fours, Integers add) {
    const Integers low = _mm512_adds_epi16(_mm512_packs_epi32(fours.part[0], fours.part[1]), add);
    const Integers high = _mm512_adds_epi16(_mm512_packs_epi32(fours.part[2], fours.part[3]), add);
    return _mm512_packus_epi16(low, high);
  }
  static Integers pack_bytes(const Fours& fours) {
    return _mm512_packus_epi16(_mm512_packs_epi32(fours.part[0], fours.part[1]),
                               _mm512_packs_epi32(fours.part[2], fours.part[3]));
  }
  // A 4 x 4 matrix of quarters, transposed: its own inverse.
  static Fours in_order(const Fours& fours) {
    const Integers a = fours.part[0], b = fours.part[1], c = fours.part[2], d = fours.part[3];
    const Integers ab_even = _mm512_shuffle_i32x4(a, b, 0x88), ab_odd = _mm512_shuffle_i32x4(a, b, 0xdd);
    const Integers cd_even = _mm512_shuffle_i32x4(c, d, 0x88), cd_odd = _mm512_shuffle_i32x4(c, d, 0xdd);
    return {{_mm512_shuffle_i32x4(ab_even, cd_even, 0x88), _mm512_shuffle_i32x4(ab_odd, cd_odd, 0x88),
             _mm512_shuffle_i32x4(ab_even, cd_even, 0xdd), _mm512_shuffle_i32x4(ab_odd, cd_odd, 0xdd)}};
  }
  static Fours from_order(const Fours& fours) { return in_order(fours); }
  static Integers rows_in_order(Integers packed) {
    const Integers order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, packed);
  }
  static Integers load_some(const std::int32_t* from, std::int64_t count) {
    return _mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << count) - 1), from);
  }
  static Integers widen(const std::uint8_t* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }

  static Integers add(Integers a, Integers b) { return _mm512_add_epi32(a, b); }
  static Integers sub(Integers a, Integers b) { return _mm512_sub_epi32(a, b); }
  static Integers mul(Integers a, Integers b) { return _mm512_mullo_epi32(a, b); }
  template <int kBits>
  static Integers halved_up(Integers value) {
    return _mm512_srai_epi32(add(value, all32(1 << (kBits - 1))), kBits);
  }
  static Integers right(Integers value, int bits) { return _mm512_sra_epi32(value, _mm_cvtsi32_si128(bits)); }

  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats to_floats(Integers value) { return _mm512_cvtepi32_ps(value); }
  static Floats as_floats(Integers bits) { return _mm512_castsi512_ps(bits); }
  template <bool kFits>
  static Integers nearest(Floats value, Floats, Floats hi) {
    return _mm512_cvtps_epi32(kFits ? value : _mm512_min_ps(value, hi));
  }

  static constexpr int kMixed = kWidth;
  struct Weights {
    Integers both;
    Weights(std::int32_t first, std::int32_t second) : both(all32((second << 16) | first)) {}
  };
  static void store_mixed(std::int32_t* to, const std::uint8_t* first, const std::uint8_t* second, const Weights& by) {
    const Integers pairs = bits_or(widen(first), _mm512_slli_epi32(widen(second), 16));
    store(to, _mm512_madd_epi16(pairs, by.both));
  }

  static Integers mul_even(Integers a, Integers b) { return _mm512_mul_epi32(a, b); }
  static Integers odd_as_even(Integers value) { return _mm512_srli_epi64(value, 32); }
  static Integers even_as64(Integers value) { return _mm512_and_si512(value, all64(0xffffffff)); }
  static Integers half_of(Integers bits) { return _mm512_srli_epi64(_mm512_sllv_epi64(all64(1), bits), 1); }
  struct HalfUp {
    Integers bits, half;
    explicit HalfUp(Integers by) : bits(by), half(half_of(by)) {}
    Integers operator()(Integers value) const { return _mm512_srav_epi64(_mm512_add_epi64(value, half), bits); }
  };
  struct HalfAway {
    Integers bits, half;
    explicit HalfAway(Integers by) : bits(by), half(half_of(by)) {}
    Integers operator()(Integers value) const {
      const __mmask8 negative = _mm512_movepi64_mask(value);
      const Integers halved = _mm512_srlv_epi64(_mm512_add_epi64(_mm512_abs_epi64(value), half), bits);
      return _mm512_mask_sub_epi64(halved, negative, zero(), halved);
    }
  };
  static Integers clamp64(Integers value, std::int64_t ends) {
    return _mm512_max_epi64(_mm512_min_epi64(value, all64(ends)), all64(-ends));
  }
  static Integers joined(Integers even, Integers odd) {
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  }
};

}  // namespace
}  // namespace oaq
