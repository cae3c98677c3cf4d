// The loops of float parts on zmm registers.
#include <immintrin.h>

#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Zmm {
  using Floats = __m512;
  static constexpr int kWidth = 16, kTileRows = 8, kTileVectors = 2;

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
  static Floats first_of(Floats value, std::int64_t count) { return _mm512_maskz_mov_ps(first(count), value); }
  static Floats first_or_least(Floats value, std::int64_t count) {
    return _mm512_mask_mov_ps(all(-std::numeric_limits<float>::infinity()), first(count), value);
  }
  static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static Floats abs(Floats value) { return _mm512_abs_ps(value); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats round(Floats value) {
    return _mm512_roundscale_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Floats scaled(Floats value, Floats power) { return _mm512_scalef_ps(value, power); }
  static Floats zero_below(Floats value, Floats x, Floats limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), value);
  }
  static Floats if_negative(Floats x, Floats yes, Floats no) {
    return _mm512_mask_mov_ps(no, _mm512_movepi32_mask(_mm512_castps_si512(x)), yes);
  }
};

}  // namespace

const FloatLoops kAvx512bwFloats = loops_on<Zmm>(Isa::kAvx512bw);

}  // namespace oaq
