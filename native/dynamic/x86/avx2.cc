// The loops of dynamic layers on ymm registers.
#include "base/x86/ymm_floats.h"
#include "dynamic/vector_loops.h"

namespace oaq {
namespace {

struct Ymm : YmmFloats {
  using Integers = __m256i;
  using YmmFloats::add, YmmFloats::all, YmmFloats::load, YmmFloats::mul, YmmFloats::sub;

  static Integers all(std::int32_t value) { return _mm256_set1_epi32(value); }
  static Integers load(const std::int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
  static Integers add(Integers a, Integers b) { return _mm256_add_epi32(a, b); }
  static Integers sub(Integers a, Integers b) { return _mm256_sub_epi32(a, b); }
  static Integers mul(Integers a, Integers b) { return _mm256_mullo_epi32(a, b); }
  static Floats to_floats(Integers value) { return _mm256_cvtepi32_ps(value); }
  static Integers to_integers(Floats value) { return _mm256_cvtps_epi32(value); }
  static Floats distance(Floats a, Floats b) { return _mm256_andnot_ps(all(-0.0f), _mm256_sub_ps(a, b)); }
  static bool has_nan(Floats value) { return _mm256_movemask_ps(_mm256_cmp_ps(value, value, _CMP_UNORD_Q)) != 0; }
  static bool all_below(Floats a, Floats b, Floats c, Floats d, float limit) {
    const Floats most = all(limit);
    const Floats ab = _mm256_or_ps(_mm256_cmp_ps(a, most, _CMP_NLE_UQ), _mm256_cmp_ps(b, most, _CMP_NLE_UQ));
    const Floats cd = _mm256_or_ps(_mm256_cmp_ps(c, most, _CMP_NLE_UQ), _mm256_cmp_ps(d, most, _CMP_NLE_UQ));
    return _mm256_movemask_ps(_mm256_or_ps(ab, cd)) == 0;
  }
  // Integers in [0, 255]; packing works within 128-bit lanes, the permutation undoes it.
  static void store_bytes(std::uint8_t* to, Integers a, Integers b, Integers c, Integers d) {
    const Integers bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    const Integers order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(bytes, order));
  }
};

}  // namespace

const DynamicLoops kAvx2Loops{Isa::kAvx2, vector_extremes<Ymm>, vector_quantize<Ymm>, vector_leave<Ymm>};

}  // namespace oaq
