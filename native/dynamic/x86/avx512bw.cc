// The loops of dynamic layers on zmm registers.
#include "base/x86/zmm_floats.h"
#include "dynamic/vector_loops.h"

namespace oaq {
namespace {

struct Zmm : ZmmFloats {
  using Integers = __m512i;
  using ZmmFloats::add, ZmmFloats::all, ZmmFloats::load, ZmmFloats::mul, ZmmFloats::sub;

  static Integers all(std::int32_t value) { return _mm512_set1_epi32(value); }
  static Integers load(const std::int32_t* from) { return _mm512_loadu_si512(from); }
  static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  static Integers add(Integers a, Integers b) { return _mm512_add_epi32(a, b); }
  static Integers sub(Integers a, Integers b) { return _mm512_sub_epi32(a, b); }
  static Integers mul(Integers a, Integers b) { return _mm512_mullo_epi32(a, b); }
  static Floats to_floats(Integers value) { return _mm512_cvtepi32_ps(value); }
  static Integers to_integers(Floats value) { return _mm512_cvtps_epi32(value); }
  static Floats distance(Floats a, Floats b) { return _mm512_abs_ps(_mm512_sub_ps(a, b)); }
  static bool has_nan(Floats value) { return _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q) != 0; }
  static bool all_below(Floats a, Floats b, Floats c, Floats d, float limit) {
    const Floats most = all(limit);
    const auto above = [&](Floats value) { return _mm512_cmp_ps_mask(value, most, _CMP_NLE_UQ); };
    return (above(a) | above(b) | above(c) | above(d)) == 0;
  }
  // Integers in [0, 255].
  static void store_bytes(std::uint8_t* to, Integers a, Integers b, Integers c, Integers d) {
    const Integers parts[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * kWidth), _mm512_cvtepi32_epi8(parts[i]));
  }
};

}  // namespace

const DynamicLoops kAvx512bwLoops{Isa::kAvx512bw, vector_extremes<Zmm>, vector_quantize<Zmm>, vector_leave<Zmm>};

}  // namespace oaq
