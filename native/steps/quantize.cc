// Inputs in blocks of pixels, channel by channel; by AVX2 where the CPU has it. The formula is in quantize_block.h.
#include "steps/quantize.h"

#include <algorithm>
#include <cstring>

#include "base/isa.h"
#include "steps/quantize_block.h"

namespace oaq {

#ifndef OAQ_X86  // never called
int quantize_block_avx2(const float*, const InputScale&, std::uint8_t*) { return 0; }
void interleave_three_avx2(const std::uint8_t (*)[kQuantizeBlock], std::uint8_t*) {}
#endif

namespace {

constexpr std::int64_t kBlock = kQuantizeBlock;

const bool kWide = runs(Isa::kAvx2);

int quantize_block(const float* real, const InputScale& numbers, std::uint8_t* q) {
  return kWide ? quantize_block_avx2(real, numbers, q) : quantized_block(real, numbers, q);
}

// One block of one channel, `count` of it real.
int quantize_some(const float* real, std::int64_t count, const InputScale& numbers, std::uint8_t* q) {
  if (count == kBlock) return quantize_block(real, numbers, q);
  float padded[kBlock];
  std::fill(std::copy_n(real, count, padded), padded + kBlock, 0.0f);
  return quantize_block(padded, numbers, q);
}

// Images: three bytes leave as four, of which the next pixel overwrites one; the last pixel's leave one by one.
void interleave_three(const std::uint8_t (*blocks)[kBlock], std::int64_t count, std::uint8_t* q) {
  if (kWide && count == kBlock) return interleave_three_avx2(blocks, q);
  for (std::int64_t i = 0; i + 1 < count; ++i) {
    const std::uint8_t pixel[4] = {blocks[0][i], blocks[1][i], blocks[2][i], 0};
    std::memcpy(q + 3 * i, pixel, sizeof pixel);
  }
  for (int channel = 0; channel < 3; ++channel) q[3 * (count - 1) + channel] = blocks[channel][count - 1];
}

}  // namespace

bool quantize(const float* real, int channels, std::int64_t pixels, const InputScale& numbers, std::uint8_t* q) {
  int missing = 0;
  std::uint8_t blocks[3][kBlock];
  for (std::int64_t first = 0; first < pixels; first += kBlock) {
    const std::int64_t count = std::min(kBlock, pixels - first);
    std::uint8_t* to = q + first * channels;
    if (channels == 3) {
      for (int channel = 0; channel < 3; ++channel)
        missing += quantize_some(real + channel * pixels + first, count, numbers, blocks[channel]);
      interleave_three(blocks, count, to);
      continue;
    }
    for (int channel = 0; channel < channels; ++channel) {
      missing += quantize_some(real + channel * pixels + first, count, numbers, blocks[0]);
      for (std::int64_t i = 0; i < count; ++i) to[i * channels + channel] = blocks[0][i];
    }
  }
  return missing == 0;
}

void dequantize(const std::uint8_t* q, std::int64_t channels, std::int64_t pixels, float scale, int zero_point,
                float* real) {
  std::uint8_t block[kBlock];
  for (std::int64_t first = 0; first < pixels; first += kBlock) {
    const std::int64_t count = std::min(kBlock, pixels - first);
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const std::uint8_t* from = q + first * channels + channel;
      if (channels > 1) {  // a strip of one channel, so that the conversion below runs over neighbours
        for (std::int64_t i = 0; i < count; ++i) block[i] = from[i * channels];
        from = block;
      }
      float* to = real + channel * pixels + first;
      for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i] - zero_point) * scale;
    }
  }
}

}  // namespace oaq
