// Sixteen bytes, by the instructions of SSSE3, which every AVX2 includes: what moves bytes whatever the width of
// vectors. Included by files built for one instruction set each; everything is in an unnamed namespace, so that each
// has its own.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace oaq {
namespace {

struct Xmm {
  using Integers = __m128i;

  static Integers load(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
  static void store(void* to, Integers value) { _mm_storeu_si128(static_cast<__m128i*>(to), value); }
  static Integers zero() { return _mm_setzero_si128(); }
  static Integers bits_or(Integers a, Integers b) { return _mm_or_si128(a, b); }
  // Byte by[i] of `of`; 0 where by[i] is 128 or more. None is in [16, 127].
  static Integers shuffle8(Integers of, Integers by) { return _mm_shuffle_epi8(of, by); }
  static Integers low8(Integers a, Integers b) { return _mm_unpacklo_epi8(a, b); }
  static Integers high8(Integers a, Integers b) { return _mm_unpackhi_epi8(a, b); }
};

}  // namespace
}  // namespace oaq
