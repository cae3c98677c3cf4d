// Add on AVX2.
//
//   terms   8 x float32   (a - a_zero) * a_scale    each product rounded once, half to even
//   sums    8 x s32       rounded half to even       exact: scales are so small that no sum leaves s32
//   fixed   8 x s32       (a - a_zero) * a_factor + (b - b_zero) * b_factor + half, shifted   **exact**: proved in s32
//   bytes   32 x u8       packed through s16         **saturates** twice, which changes nothing that the clamp keeps
#include <immintrin.h>

#include "steps/add.h"

namespace oaq {
namespace {

// Eight of x as x - zero.
inline __m256i centred(const std::uint8_t* x, __m256i zero) {
  return _mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))), zero);
}

// Eight of x as (x - zero) * scale, rounded once.
inline __m256 real(const std::uint8_t* x, __m256i zero, __m256 scale) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(centred(x, zero)), scale);
}

// Packs, moves by the zero point and clamps 32 sums at a time; `eight(at)` are those from `at` on.
template <typename Eight>
inline std::size_t store_sums(std::size_t count, const AddNumbers& numbers, std::uint8_t* y, Eight eight) {
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(numbers.zero));
  const __m256i lo = _mm256_set1_epi8(static_cast<char>(numbers.clamp_lo));
  const __m256i hi = _mm256_set1_epi8(static_cast<char>(numbers.clamp_hi));
  // Packing works within 128-bit lanes: dword 2 i of the result has the eights' first halves, 2 i + 1 their second.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  std::size_t at = 0;
  for (; at + 32 <= count; at += 32) {
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(eight(at), eight(at + 8)), zero);
    const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(eight(at + 16), eight(at + 24)), zero);
    const __m256i bytes = _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(low, high), lo), hi);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + at), _mm256_permutevar8x32_epi32(bytes, order));
  }
  return at;
}

std::size_t add_fixed(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                      std::uint8_t* y) {
  const __m256i a_zero = _mm256_set1_epi32(numbers.a_zero), b_zero = _mm256_set1_epi32(numbers.b_zero);
  const __m256i a_factor = _mm256_set1_epi32(numbers.a_factor), b_factor = _mm256_set1_epi32(numbers.b_factor);
  const __m256i half = _mm256_set1_epi32(numbers.half);
  const __m128i shift = _mm_cvtsi32_si128(numbers.shift);
  return store_sums(count, numbers, y, [&](std::size_t at) {
    const __m256i left = _mm256_mullo_epi32(centred(a + at, a_zero), a_factor);
    const __m256i right = _mm256_mullo_epi32(centred(b + at, b_zero), b_factor);
    return _mm256_sra_epi32(_mm256_add_epi32(_mm256_add_epi32(left, right), half), shift);
  });
}

}  // namespace

std::size_t add_avx2(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                     std::uint8_t* y) {
  if (numbers.shift) return add_fixed(a, b, count, numbers, y);
  const __m256 a_scale = _mm256_set1_ps(numbers.a_scale), b_scale = _mm256_set1_ps(numbers.b_scale);
  const __m256i a_zero = _mm256_set1_epi32(numbers.a_zero), b_zero = _mm256_set1_epi32(numbers.b_zero);
  return store_sums(count, numbers, y, [&](std::size_t at) {
    return _mm256_cvtps_epi32(_mm256_add_ps(real(a + at, a_zero, a_scale), real(b + at, b_zero, b_scale)));
  });
}

}  // namespace oaq
