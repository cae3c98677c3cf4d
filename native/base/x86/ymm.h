// Vectors of 32 bytes, by the instructions of AVX2. Included by files built for one instruction set each; everything is
// in an unnamed namespace, so that each has its own. Zmm (base/x86/zmm.h), Neon (base/arm/neon.h) and Simd128
// (base/wasm/simd128.h) have the same members, as far as loops for them use them.
//
// Bytes become s32 in the order of unpacking instructions, which work within 128-bit parts of a register; packing
// instructions work alike and put them back: `Fours` is that order, and nothing outside may look inside.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "base/x86/xmm.h"

namespace oaq {
namespace {

struct Ymm {
  using Integers = __m256i;
  using Floats = __m256;
  using Sixteen = Xmm;
  static constexpr int kBytes = 32;
  static constexpr int kWidth = 8;  // of 32 bits
  struct Fours {                    // 32 values
    Integers part[4];
  };

  static Integers load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static Floats load_floats(const float* from) { return _mm256_loadu_ps(from); }
  static void store(void* to, Integers value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }
  static void store_floats(float* to, Floats value) { _mm256_storeu_ps(to, value); }
  static Integers zero() { return _mm256_setzero_si256(); }
  static Integers all8(std::uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static Integers all16(std::int16_t value) { return _mm256_set1_epi16(value); }
  static Integers all32(std::int32_t value) { return _mm256_set1_epi32(value); }
  static Integers all64(std::int64_t value) { return _mm256_set1_epi64x(value); }
  static Floats all(float value) { return _mm256_set1_ps(value); }
  // 16 bytes everywhere.
  static Integers repeat16(const void* from) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(from)));
  }

  // 16 bytes from each of kBytes / 16 places, `apart` bytes apart, and back to such places.
  static Integers load_sixteens(const std::uint8_t* from, std::int64_t apart) {
    const auto* low = reinterpret_cast<const __m128i*>(from);
    const auto* high = reinterpret_cast<const __m128i*>(from + apart);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)), _mm_loadu_si128(high), 1);
  }
  static void store_sixteens(std::uint8_t* to, std::int64_t apart, Integers value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(value));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + apart), _mm256_extracti128_si256(value, 1));
  }
  // Bytes of both in turn: of the lower or the upper half of every 16.
  static Integers low8(Integers a, Integers b) { return _mm256_unpacklo_epi8(a, b); }
  static Integers high8(Integers a, Integers b) { return _mm256_unpackhi_epi8(a, b); }

  static Integers max8(Integers a, Integers b) { return _mm256_max_epu8(a, b); }
  static Integers min8(Integers a, Integers b) { return _mm256_min_epu8(a, b); }
  static Integers sub_saturated8(Integers a, Integers b) { return _mm256_subs_epi8(a, b); }
  static Integers shuffle8(Integers of, Integers by) { return _mm256_shuffle_epi8(of, by); }
  static Integers bits_xor(Integers a, Integers b) { return _mm256_xor_si256(a, b); }
  static Integers bits_or(Integers a, Integers b) { return _mm256_or_si256(a, b); }

  static Integers add16(Integers a, Integers b) { return _mm256_add_epi16(a, b); }
  static Integers sub16(Integers a, Integers b) { return _mm256_sub_epi16(a, b); }
  static Integers mul_low16(Integers a, Integers b) { return _mm256_mullo_epi16(a, b); }
  static Integers low16(Integers bytes) { return _mm256_unpacklo_epi8(bytes, zero()); }
  static Integers high16(Integers bytes) { return _mm256_unpackhi_epi8(bytes, zero()); }
  static Integers low32(Integers words, Integers above) { return _mm256_unpacklo_epi16(words, above); }
  static Integers high32(Integers words, Integers above) { return _mm256_unpackhi_epi16(words, above); }
  // The same of zeros above, and the products of s16.
  static Integers low32(Integers words) { return low32(words, zero()); }
  static Integers high32(Integers words) { return high32(words, zero()); }
  static Integers low_products(Integers a, Integers b) { return low32(mul_low16(a, b), _mm256_mulhi_epi16(a, b)); }
  static Integers high_products(Integers a, Integers b) { return high32(mul_low16(a, b), _mm256_mulhi_epi16(a, b)); }
  // Bytes as s32, or as the bits of what `above` is in the upper halves.
  static Fours unpack(Integers bytes, Integers above) {
    const Integers low = low16(bytes), high = high16(bytes);
    return {{low32(low, above), high32(low, above), low32(high, above), high32(high, above)}};
  }
  static Fours unpack(Integers bytes) { return unpack(bytes, zero()); }
  // s32 as bytes: packed through s16, where `add` is added, **saturating** each time.
  static Integers pack(const Fours& fours, Integers add) {
    const Integers low = _mm256_adds_epi16(_mm256_packs_epi32(fours.part[0], fours.part[1]), add);
    const Integers high = _mm256_adds_epi16(_mm256_packs_epi32(fours.part[2], fours.part[3]), add);
    return _mm256_packus_epi16(low, high);
  }
  static Integers pack_bytes(const Fours& fours) {  // of [0, 255]
    return _mm256_packus_epi16(_mm256_packs_epi32(fours.part[0], fours.part[1]),
                               _mm256_packs_epi32(fours.part[2], fours.part[3]));
  }
  // The order of memory: dword 2 i of each half and dword 2 i + 1 change places so that s32 lie one after another.
  static Fours in_order(const Fours& fours) {
    const Integers a = fours.part[0], b = fours.part[1], c = fours.part[2], d = fours.part[3];
    return {{_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(c, d, 0x20),
             _mm256_permute2x128_si256(a, b, 0x31), _mm256_permute2x128_si256(c, d, 0x31)}};
  }
  static Fours from_order(const Fours& fours) {
    const Integers a = fours.part[0], b = fours.part[1], c = fours.part[2], d = fours.part[3];
    return {{_mm256_permute2x128_si256(a, c, 0x20), _mm256_permute2x128_si256(a, c, 0x31),
             _mm256_permute2x128_si256(b, d, 0x20), _mm256_permute2x128_si256(b, d, 0x31)}};
  }
  // Four vectors packed by `pack`, each of s32 in the order of memory: their bytes one after another.
  static Integers rows_in_order(Integers packed) {
    return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }
  // The first `count` s32, then zeros; no more is read.
  static Integers load_some(const std::int32_t* from, std::int64_t count) {
    const Integers places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_epi32(from, _mm256_cmpgt_epi32(all32(static_cast<std::int32_t>(count)), places));
  }
  // 8 bytes as s32, in the order of memory.
  static Integers widen(const std::uint8_t* from) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }

  static Integers add(Integers a, Integers b) { return _mm256_add_epi32(a, b); }
  static Integers sub(Integers a, Integers b) { return _mm256_sub_epi32(a, b); }
  static Integers mul(Integers a, Integers b) { return _mm256_mullo_epi32(a, b); }
  // value / 2^kBits, halves up.
  template <int kBits>
  static Integers halved_up(Integers value) {
    return _mm256_srai_epi32(add(value, all32(1 << (kBits - 1))), kBits);
  }
  static Integers right(Integers value, int bits) { return _mm256_sra_epi32(value, _mm_cvtsi32_si128(bits)); }

  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats to_floats(Integers value) { return _mm256_cvtepi32_ps(value); }
  static Floats as_floats(Integers bits) { return _mm256_castsi256_ps(bits); }
  // Half to even. What lies beyond `lo` or `hi` may become anything on that side; unless all fit, s32 may be left.
  template <bool kFits>
  static Integers nearest(Floats value, Floats, Floats hi) {
    return _mm256_cvtps_epi32(kFits ? value : _mm256_min_ps(value, hi));
  }

  // kMixed sums of two bytes, each times its weight, in the order of memory.
  static constexpr int kMixed = kWidth;
  struct Weights {
    Integers both;
    Weights(std::int32_t first, std::int32_t second) : both(all32((second << 16) | first)) {}
  };
  static void store_mixed(std::int32_t* to, const std::uint8_t* first, const std::uint8_t* second, const Weights& by) {
    const Integers pairs = bits_or(widen(first), _mm256_slli_epi32(widen(second), 16));
    store(to, _mm256_madd_epi16(pairs, by.both));
  }

  // 64 bits: products of the even s32 of both, and s32 moved so that odd ones are even.
  static Integers mul_even(Integers a, Integers b) { return _mm256_mul_epi32(a, b); }
  static Integers odd_as_even(Integers value) { return _mm256_srli_epi64(value, 32); }
  static Integers even_as64(Integers value) { return _mm256_and_si256(value, all64(0xffffffff)); }  // from u32
  static Integers half_of(Integers bits) { return _mm256_srli_epi64(_mm256_sllv_epi64(all64(1), bits), 1); }
  // s64 / 2^bits, halves up. Arithmetic shifts are not there: the sign becomes an offset that is shifted too, as `sign`
  // is. Halves included, magnitudes are below 2^63.
  struct HalfUp {
    Integers bits, half, sign;
    explicit HalfUp(Integers by) : bits(by), half(half_of(by)), sign(_mm256_srlv_epi64(all64(INT64_MIN), by)) {}
    Integers operator()(Integers value) const {
      const Integers sum = _mm256_xor_si256(_mm256_add_epi64(value, half), all64(INT64_MIN));
      return _mm256_sub_epi64(_mm256_srlv_epi64(sum, bits), sign);
    }
  };
  // The same, halves away from 0; bits may be 0.
  struct HalfAway {
    Integers bits, half;
    explicit HalfAway(Integers by) : bits(by), half(half_of(by)) {}
    Integers operator()(Integers value) const {
      const Integers sign = _mm256_cmpgt_epi64(zero(), value);
      const Integers magnitude = _mm256_sub_epi64(_mm256_xor_si256(value, sign), sign);
      const Integers halved = _mm256_srlv_epi64(_mm256_add_epi64(magnitude, half), bits);
      return _mm256_sub_epi64(_mm256_xor_si256(halved, sign), sign);
    }
  };
  // To [-ends, ends], unless `joined` does as much.
  static Integers clamp64(Integers value, std::int64_t ends) {
    const Integers hi = all64(ends), lo = all64(-ends);
    const Integers below = _mm256_blendv_epi8(value, hi, _mm256_cmpgt_epi64(value, hi));
    return _mm256_blendv_epi8(below, lo, _mm256_cmpgt_epi64(lo, below));
  }
  // Low halves of both: of `odd` at odd places.
  static Integers joined(Integers even, Integers odd) {
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  }
};

}  // namespace
}  // namespace oaq
