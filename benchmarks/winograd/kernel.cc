// F(2, 3) along rows for 3 x 3 layers of stride 1, in exact integers: four products where six are usual.
//
// An experiment, not a kernel row: benchmarks.winograd builds it, compares its integers with the reference and times it
// beside the row that it would replace. Built once per width: -DVECTOR=512 (AVX-512 VNNI) or 256 (AVX-VNNI).

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

#if VECTOR == 512
#define REGISTER "v"
using Vector = __m512i;
constexpr int kPairs = 3, kVectors = 2;  // 24 sums of 32 registers
Vector zeros() { return _mm512_setzero_si512(); }
Vector load(const void* p) { return _mm512_loadu_si512(p); }
Vector broadcast(int32_t quad) { return _mm512_set1_epi32(quad); }
Vector products(Vector sum, Vector x, Vector w) { return _mm512_dpbusd_epi32(sum, x, w); }
Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
Vector subtract(Vector a, Vector b) { return _mm512_sub_epi32(a, b); }
void store_u8(uint8_t* y, Vector sum, const float* scale, int zero) {
  const __m512 real = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(scale));
  const __m512i level = _mm512_add_epi32(_mm512_cvtps_epi32(real), _mm512_set1_epi32(zero));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm512_cvtusepi32_epi8(_mm512_max_epi32(level, zeros())));
}
#else
#define REGISTER "x"
using Vector = __m256i;
constexpr int kPairs = 3, kVectors = 1;  // 12 sums of 16 registers
Vector zeros() { return _mm256_setzero_si256(); }
Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
Vector broadcast(int32_t quad) { return _mm256_set1_epi32(quad); }
Vector products(Vector sum, Vector x, Vector w) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
Vector subtract(Vector a, Vector b) { return _mm256_sub_epi32(a, b); }
void store_u8(uint8_t* y, Vector sum, const float* scale, int zero) {
  const __m256 real = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
  const __m256i level = _mm256_add_epi32(_mm256_cvtps_epi32(real), _mm256_set1_epi32(zero));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(level), _mm256_extracti128_si256(level, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(y), _mm_packus_epi16(words, words));
}
#endif

constexpr int kLanes = VECTOR / 32, kTile = kLanes * kVectors, kForms = 4, kTaps = 3;

struct Layer {
  int rows, pairs, channels, outputs;  // outputs: a multiple of the tile; channels: of 4
  const int8_t* weights;               // [tile][tap row][quad][form][tile's outputs][4]
  const int32_t* bias;                 // (2, outputs) added to twice the first and the second sum of a pair
  const float* scale;                  // half of the multiplier
  int zero;
};

// (rows + 2, 2 * pairs + 2, channels) of 0..127 to (rows + 2, pairs, channels / 4, 4 forms, 4): x0 - x2 + 128, x1 + x2,
// x2 - x1 + 128, x1 - x3 + 128. A multiple of 32 channels.
void transform(const uint8_t* x, const Layer& layer, uint8_t* forms) {
  const ptrdiff_t c = layer.channels;
  const __m256i middle = _mm256_set1_epi8(-128);
  const auto at = [](const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); };
  const auto put = [](uint8_t* p, __m128i value) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), value); };
  for (int row = 0; row < layer.rows + 2; ++row)
    for (int pair = 0; pair < layer.pairs; ++pair) {
      const uint8_t* p = x + (ptrdiff_t{row} * (2 * layer.pairs + 2) + 2 * pair) * c;
      for (ptrdiff_t k = 0; k < c; k += 32, forms += 128) {
        const __m256i x0 = at(p + k), x1 = at(p + c + k), x2 = at(p + 2 * c + k), x3 = at(p + 3 * c + k);
        const __m256i f0 = _mm256_add_epi8(_mm256_sub_epi8(x0, x2), middle), f1 = _mm256_add_epi8(x1, x2);
        const __m256i f2 = _mm256_add_epi8(_mm256_sub_epi8(x2, x1), middle);
        const __m256i f3 = _mm256_add_epi8(_mm256_sub_epi8(x1, x3), middle);
        const __m256i low01 = _mm256_unpacklo_epi32(f0, f1), low23 = _mm256_unpacklo_epi32(f2, f3);
        const __m256i high01 = _mm256_unpackhi_epi32(f0, f1), high23 = _mm256_unpackhi_epi32(f2, f3);
        const __m256i quads[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                                  _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
        for (int quad = 0; quad < 4; ++quad) {
          put(forms + 16 * quad, _mm256_castsi256_si128(quads[quad]));
          put(forms + 64 + 16 * quad, _mm256_extracti128_si256(quads[quad], 1));
        }
      }
    }
}

template <int P>
void tile(const uint8_t* forms, const Layer& layer, const int8_t* weights, int first, uint8_t* y) {
  const ptrdiff_t c = layer.channels, line = ptrdiff_t{layer.pairs} * kForms * c;
  Vector sums[kForms][P][kVectors];
  for (auto& form : sums)
    for (auto& pair : form)
      for (auto& sum : pair) sum = zeros();
  for (int tap = 0; tap < kTaps; ++tap)
    for (ptrdiff_t k = 0; k < c; k += 4)
#pragma GCC unroll 4
      for (int form = 0; form < kForms; ++form) {
        Vector w[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v, weights += 4 * kLanes) {
          w[v] = load(weights);
          asm("" : "+" REGISTER(w[v]));  // in a register: a memory operand would load it again for each pair
        }
#pragma GCC unroll 3
        for (int p = 0; p < P; ++p) {
          int32_t quad;
          std::memcpy(&quad, forms + tap * line + p * kForms * c + kForms * k + 4 * form, 4);
          const Vector x = broadcast(quad);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) sums[form][p][v] = products(sums[form][p][v], x, w[v]);
        }
      }
  for (int p = 0; p < P; ++p)
    for (int v = 0; v < kVectors; ++v) {
      const int n = first + v * kLanes;
      const Vector m0 = sums[0][p][v], m1 = sums[1][p][v], m2 = sums[2][p][v], m3 = sums[3][p][v];
      const Vector even = add(add(m0, m0), add(m1, m2)), odd = subtract(subtract(m1, m2), add(m3, m3));
      uint8_t* out = y + ptrdiff_t{2 * p} * layer.outputs + n;
      store_u8(out, add(even, load(layer.bias + n)), layer.scale + n, layer.zero);
      store_u8(out + layer.outputs, add(odd, load(layer.bias + layer.outputs + n)), layer.scale + n, layer.zero);
    }
}

}  // namespace

extern "C" int winograd_tile() { return kTile; }

// y: (rows, 2 * pairs, outputs). forms: room for (rows + 2) * pairs * 4 * channels bytes.
extern "C" void winograd(const uint8_t* x, uint8_t* forms, uint8_t* y, int rows, int pairs, int channels, int outputs,
                         const int8_t* weights, const int32_t* bias, const float* scale, int zero) {
  const Layer layer{rows, pairs, channels, outputs, weights, bias, scale, zero};
  transform(x, layer, forms);
  const ptrdiff_t wide = ptrdiff_t{kForms} * channels, packed = kTaps * wide * kTile;
  for (int first = 0; first < outputs; first += kTile)
    for (int row = 0; row < rows; ++row) {
      const int8_t* w = weights + first / kTile * packed;
      for (int pair = 0; pair < pairs; pair += kPairs) {
        const uint8_t* from = forms + (ptrdiff_t{row} * pairs + pair) * wide;
        uint8_t* to = y + (ptrdiff_t{row} * pairs + pair) * 2 * outputs;
        switch (pairs - pair) {
          case 1:
            tile<1>(from, layer, w, first, to);
            break;
          case 2:
            tile<2>(from, layer, w, first, to);
            break;
          default:
            tile<kPairs>(from, layer, w, first, to);
        }
      }
    }
}
