// Floats in zmm registers: what loops of float parts and of dynamic layers both do with them. Included by files built
// for one instruction set each; everything is in an unnamed namespace, so that each has its own. min and max give the
// second operand where the first is NaN.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace oaq {
namespace {

struct ZmmFloats {
  using Floats = __m512;
  static constexpr int kWidth = 16;

  static Floats all(float value) { return _mm512_set1_ps(value); }
  static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  static __mmask16 first(std::int64_t count) {
    return static_cast<__mmask16>(count < kWidth ? (1u << count) - 1 : 0xffffu);
  }
  static Floats load_some(const float* from, std::int64_t count) { return _mm512_maskz_loadu_ps(first(count), from); }
  static void store(float* to, Floats value) { _mm512_storeu_ps(to, value); }
  static void store_some(float* to, Floats value, std::int64_t count) {
    _mm512_mask_storeu_ps(to, first(count), value);
  }
  static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static Floats abs(Floats value) { return _mm512_abs_ps(value); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats round(Floats value) {
    return _mm512_roundscale_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
};

}  // namespace
}  // namespace oaq
