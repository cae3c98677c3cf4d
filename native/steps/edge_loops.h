// Bytes of inputs and outputs on vectors V (base/x86/ymm.h and its like), and moved by shuffles S of 16 (V::Sixteen).
// Included by files built for one instruction set each; everything is in an unnamed namespace, so that each has its
// own.
#pragma once

#include <cstring>

#include "steps/quantize.h"

namespace oaq {
namespace {

template <typename V>
void vector_to_reals(const std::uint8_t* q, std::int64_t count, std::int32_t zero, float scale, float* y) {
  const auto by = V::all(scale);
  const auto minus = V::all32(zero);
  const auto reals = [&](const std::uint8_t* from) { return V::mul(V::to_floats(V::sub(V::widen(from), minus)), by); };
  std::int64_t at = 0;
  for (; at + V::kWidth <= count; at += V::kWidth) V::store_floats(y + at, reals(q + at));
  for (; at < count; ++at) y[at] = static_cast<float>(q[at] - zero) * scale;
}

// Rows are interleaved with those eight below, four times: then every byte has changed the bits of its row for those of
// its column.
template <typename S>
void transpose_sixteen(const Sixteens& block) {
  typename S::Integers rows[16], mixed[16];
  for (int i = 0; i < 16; ++i) rows[i] = S::load(block.from + i * block.from_step);
  for (int times = 0; times < 4; ++times) {
    for (int i = 0; i < 8; ++i) {
      mixed[2 * i] = S::low8(rows[i], rows[i + 8]);
      mixed[2 * i + 1] = S::high8(rows[i], rows[i + 8]);
    }
    for (int i = 0; i < 16; ++i) rows[i] = mixed[i];
  }
  for (int i = 0; i < 16; ++i) S::store(block.to + i * block.to_step, rows[i]);
}

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

// Which of 16 consecutive bytes of pixels goes to each of one channel's 16; -1 where another 16 hold it.
struct OrderBack {
  alignas(16) std::int8_t of[3][3][kPixels];  // [channel][which 16 of the 48]

  constexpr OrderBack() : of() {
    for (int channel = 0; channel < 3; ++channel)
      for (int part = 0; part < 3; ++part)
        for (int i = 0; i < kPixels; ++i) {
          const int at = 3 * i + channel - kPixels * part;
          of[channel][part][i] = static_cast<std::int8_t>(at >= 0 && at < kPixels ? at : -1);
        }
  }
};
constexpr OrderBack kOrderBack;

template <typename S>
void separate_three(const std::uint8_t* q, std::int64_t count, std::uint8_t* const* channels) {
  std::int64_t i = 0;
  for (; i + kPixels <= count; i += kPixels) {
    typename S::Integers pixels[3];
    for (int part = 0; part < 3; ++part) pixels[part] = S::load(q + 3 * i + kPixels * part);
    for (int channel = 0; channel < 3; ++channel) {
      auto bytes = S::zero();
      for (int part = 0; part < 3; ++part)
        bytes = S::bits_or(bytes, S::shuffle8(pixels[part], S::load(kOrderBack.of[channel][part])));
      S::store(channels[channel] + i, bytes);
    }
  }
  for (; i < count; ++i)
    for (int channel = 0; channel < 3; ++channel) channels[channel][i] = q[3 * i + channel];
}

template <typename S>
void interleave_three(const std::uint8_t* const* channels, std::int64_t count, std::uint8_t* q) {
  std::int64_t i = 0;
  for (; i + kPixels <= count; i += kPixels) {
    typename S::Integers values[3];
    for (int channel = 0; channel < 3; ++channel) values[channel] = S::load(channels[channel] + i);
    for (int part = 0; part < 3; ++part) {
      auto bytes = S::zero();
      for (int channel = 0; channel < 3; ++channel)
        bytes = S::bits_or(bytes, S::shuffle8(values[channel], S::load(kOrder.of[channel][part])));
      S::store(q + 3 * i + kPixels * part, bytes);
    }
  }
  for (; i < count; ++i)
    for (int channel = 0; channel < 3; ++channel) q[3 * i + channel] = channels[channel][i];
}

}  // namespace
}  // namespace oaq
