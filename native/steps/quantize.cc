// Inputs and outputs in blocks of pixels, sixteen channels at a time. Reals are quantized by the loops of dynamic
// layers, whose law is the same: q = clamp(half_even(real / scale) + zero) in float32.
#include "steps/quantize.h"

#include <algorithm>
#include <cstring>

#include "base/copy.h"
#include "dynamic/loops.h"

namespace oaq {
namespace {

constexpr std::int64_t kBlock = 1024;  // pixels; of a channel, as many reals as a page holds
constexpr std::int64_t kFewer = 256;   // pixels whose many channels stay near until all of them are there
constexpr std::int64_t kSide = 16;

std::int64_t block_of(std::int64_t channels) { return channels <= kSide ? kBlock : kFewer; }

void to_reals(const std::uint8_t* __restrict q, std::int64_t count, std::int32_t zero, float scale,
              float* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(q[i] - zero) * scale;
}

void transpose(const Sixteens& block) {
  for (std::int64_t j = 0; j < kSide; ++j)
    for (std::int64_t i = 0; i < kSide; ++i) block.to[j * block.to_step + i] = block.from[i * block.from_step + j];
}

// Asks for reals whose turn comes after other channels: nothing else foresees where a channel goes on.
void fetch(const float* real, std::int64_t count) {
  constexpr std::int64_t kLine = 16;  // reals
  for (std::int64_t i = 0; i < count; i += kLine) __builtin_prefetch(real + i);
}

// So many reals may lie outside of a core's own caches; where they lie in them, asking costs a tenth more.
bool lie_far(std::int64_t channels, std::int64_t pixels) {
  constexpr std::int64_t kNear = std::int64_t{1} << 16;
  return channels * pixels > kNear;
}

// Three bytes leave as four, of which the next pixel overwrites one; the last pixel's leave one by one.
void interleave_three(const std::uint8_t* const* channels, std::int64_t count, std::uint8_t* q) {
  for (std::int64_t i = 0; i + 1 < count; ++i) {
    const std::uint8_t pixel[4] = {channels[0][i], channels[1][i], channels[2][i], 0};
    std::memcpy(q + 3 * i, pixel, sizeof pixel);
  }
  for (int channel = 0; channel < 3; ++channel) q[3 * (count - 1) + channel] = channels[channel][count - 1];
}

void separate_three(const std::uint8_t* __restrict q, std::int64_t count, std::uint8_t* const* channels) {
  for (int channel = 0; channel < 3; ++channel) {
    std::uint8_t* __restrict to = channels[channel];
    for (std::int64_t i = 0; i < count; ++i) to[i] = q[3 * i + channel];
  }
}

// Strips of up to sixteen channels, kBlock bytes apart, become pixels of so many bytes.
void interleave(const EdgeLoops& loops, const std::uint8_t* strips, std::int64_t channels, std::int64_t count,
                std::uint8_t* q, std::int64_t pixel_bytes) {
  std::uint8_t block[kSide * kSide];
  for (std::int64_t first = 0; first < count; first += kSide) {
    std::uint8_t* to = q + first * pixel_bytes;
    if (channels == kSide && first + kSide <= count) {
      loops.transpose({strips + first, kBlock, to, pixel_bytes});
      continue;
    }
    loops.transpose({strips + first, kBlock, block, kSide});
    copy_pixels(to, pixel_bytes, block, kSide, channels, std::min(kSide, count - first));
  }
}

// Pixels of so many bytes become strips. Sixteen bytes of a pixel are read before `end` only.
void separate(const EdgeLoops& loops, const std::uint8_t* q, const std::uint8_t* end, std::int64_t pixel_bytes,
              std::int64_t channels, std::int64_t count, std::uint8_t* strips) {
  std::uint8_t block[kSide * kSide] = {};
  for (std::int64_t first = 0; first < count; first += kSide) {
    const std::uint8_t* from = q + first * pixel_bytes;
    if (end - from >= (kSide - 1) * pixel_bytes + kSide) {
      loops.transpose({from, pixel_bytes, strips + first, kBlock});
      continue;
    }
    copy_pixels(block, kSide, from, pixel_bytes, channels, std::min(kSide, count - first));
    loops.transpose({block, kSide, strips + first, kBlock});
  }
}

}  // namespace

const EdgeLoops kScalarEdges{Isa::kScalar, to_reals, transpose, interleave_three, separate_three};

const EdgeLoops& edge_loops(Isa isa) {
#ifdef OAQ_X86
  const Isas included = included_in(isa);
  if (included & bit(Isa::kAvx512bw)) return kAvx512bwEdges;
  if (included & bit(Isa::kAvx2)) return kAvx2Edges;
#endif
#ifdef OAQ_ARM64
  if (included_in(isa) & bit(Isa::kNeon)) return kNeonEdges;
#endif
#ifdef OAQ_WASM
  if (included_in(isa) & bit(Isa::kSimd128)) return kSimd128Edges;
#endif
  static_cast<void>(isa);
  return kScalarEdges;
}

Isa widest_isa() {
  static const Isa widest = [] {
    for (const Isa isa : {Isa::kAvx512bw, Isa::kAvx2, Isa::kNeon, Isa::kSimd128})
      if (runs(isa)) return isa;
    return Isa::kScalar;
  }();
  return widest;
}

bool quantize(const float* real, std::int64_t channels, std::int64_t pixels, const InputScale& numbers, std::uint8_t* q,
              Isa isa) {
  const EdgeLoops& loops = edge_loops(isa);
  const RealScale scale{numbers.scale, numbers.zero_point, numbers.clamp.lo, numbers.clamp.hi};
  const auto quantize_strip = dynamic_loops(isa).quantize;
  if (channels == 1) return quantize_strip(real, pixels, scale, q);
  alignas(64) std::uint8_t strips[kSide * kBlock];
  const std::uint8_t* three[3] = {strips, strips + kBlock, strips + 2 * kBlock};
  const bool is_far = lie_far(channels, pixels);
  bool is_complete = true;
  for (std::int64_t block = block_of(channels), pixel = 0; pixel < pixels; pixel += block) {
    const std::int64_t count = std::min(block, pixels - pixel);
    for (std::int64_t first = 0; first < channels; first += kSide) {
      const std::int64_t some = std::min(kSide, channels - first);
      const std::int64_t next = is_far ? std::min(block, pixels - pixel - count) : 0;
      for (std::int64_t channel = 0; channel < some; ++channel) {
        const float* strip = real + (first + channel) * pixels + pixel;
        fetch(strip + count, next);
        is_complete &= quantize_strip(strip, count, scale, strips + channel * kBlock);
      }
      std::uint8_t* to = q + pixel * channels + first;
      if (channels == 3)
        loops.interleave_three(three, count, to);
      else
        interleave(loops, strips, some, count, to, channels);
    }
  }
  return is_complete;
}

void dequantize(const std::uint8_t* q, std::int64_t channels, std::int64_t pixels, float scale, int zero_point,
                float* real, Isa isa) {
  const EdgeLoops& loops = edge_loops(isa);
  if (channels == 1) return loops.to_reals(q, pixels, zero_point, scale, real);
  alignas(64) std::uint8_t strips[kSide * kBlock];
  std::uint8_t* three[3] = {strips, strips + kBlock, strips + 2 * kBlock};
  const std::uint8_t* end = q + channels * pixels;
  const bool is_far = lie_far(channels, pixels);
  for (std::int64_t block = block_of(channels), pixel = 0; pixel < pixels; pixel += block) {
    const std::int64_t count = std::min(block, pixels - pixel);
    for (std::int64_t first = 0; first < channels; first += kSide) {
      const std::int64_t some = std::min(kSide, channels - first);
      const std::uint8_t* from = q + pixel * channels + first;
      if (channels == 3)
        loops.separate_three(from, count, three);
      else
        separate(loops, from, end, channels, some, count, strips);
      const std::int64_t next = is_far ? std::min(block, pixels - pixel - count) : 0;
      for (std::int64_t channel = 0; channel < some; ++channel) {
        float* strip = real + (first + channel) * pixels + pixel;
        fetch(strip + count, next);
        loops.to_reals(strips + channel * kBlock, count, zero_point, scale, strip);
      }
    }
  }
}

}  // namespace oaq
