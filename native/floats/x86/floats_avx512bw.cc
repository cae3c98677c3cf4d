// The loops of float parts on zmm registers.
#include "base/x86/zmm_floats.h"
#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Zmm : ZmmFloats {
  static constexpr int kTileRows = 8, kTileVectors = 2;

  static Floats first_of(Floats value, std::int64_t count) { return _mm512_maskz_mov_ps(first(count), value); }
  static Floats first_or_least(Floats value, std::int64_t count) {
    return _mm512_mask_mov_ps(all(-std::numeric_limits<float>::infinity()), first(count), value);
  }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
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
