// Rounding of inputs on AVX2: the compiler vectorizes the block, 8 x float32 at a time, with the operations of
// quantize_block.h in their order, so that every integer is the scalar one. Images are interleaved 16 pixels at a time.
#include <immintrin.h>

#include "steps/quantize_block.h"

namespace oaq {
namespace {

constexpr int kPixels = 16;

// Which byte of one channel's 16 goes to each of 16 consecutive bytes of pixels; -1 where another channel's belongs.
struct Order {
  alignas(16) std::int8_t of[3][3][kPixels];  // [channel][which 16 of the 48]

  constexpr Order() : of() {
    for (int channel = 0; channel < 3; ++channel)
      for (int at = 0; at < 3 * kPixels; ++at)
        of[channel][at / kPixels][at % kPixels] = static_cast<std::int8_t>(at % 3 == channel ? at / 3 : -1);
  }
};
constexpr Order kOrder;

}  // namespace

int quantize_block_avx2(const float* real, const InputScale& numbers, std::uint8_t* q) {
  return quantized_block(real, numbers, q);
}

void interleave_three_avx2(const std::uint8_t (*blocks)[kQuantizeBlock], std::uint8_t* q) {
  for (int i = 0; i < kQuantizeBlock; i += kPixels) {
    __m128i channels[3];
    for (int channel = 0; channel < 3; ++channel)
      channels[channel] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks[channel] + i));
    for (int part = 0; part < 3; ++part) {
      __m128i bytes = _mm_setzero_si128();
      for (int channel = 0; channel < 3; ++channel) {
        const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(kOrder.of[channel][part]));
        bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(channels[channel], order));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 3 * i + kPixels * part), bytes);
    }
  }
}

}  // namespace oaq
