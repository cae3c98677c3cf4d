// The loops of dynamic layers on vectors V of floats. Included by files built for one instruction set each; everything
// is in an unnamed namespace, so that each has its own.
//
// A real is quantized by the product with the reciprocal of its scale, which differs from the quotient by less than
// 3 * 2^-24 parts of it, so by less than 2^-14 where the result is in [-256, 256]. Only where the product lies so near
// the middle of two integers that this may show (once in thousands of vectors) is the quotient computed. The product of
// NaN is near nothing, so it is met there too.
#pragma once

#include <cstddef>
#include <cstring>

#include "dynamic/loops.h"

namespace oaq {
namespace {

constexpr float kSurelyNearest = 0.5f - 1.0f / 4096;

template <typename V>
Extremes vector_extremes(const float* x, std::int64_t count) {
  constexpr int kWidth = V::kWidth;
  typename V::Floats least[4], most[4];
  for (int i = 0; i < 4; ++i) least[i] = most[i] = V::all(0.0f);
  std::int64_t at = 0;
  for (; at + 4 * kWidth <= count; at += 4 * kWidth)
    for (int i = 0; i < 4; ++i) {
      const auto part = V::load(x + at + i * kWidth);
      least[i] = V::min(part, least[i]);  // the second of both if the first is NaN
      most[i] = V::max(part, most[i]);
    }
  for (; at < count; at += kWidth) {
    const auto part = V::load_some(x + at, count - at);
    least[0] = V::min(part, least[0]);
    most[0] = V::max(part, most[0]);
  }
  alignas(64) float ends[2][static_cast<std::size_t>(kWidth)];
  V::store(ends[0], V::min(V::min(least[0], least[1]), V::min(least[2], least[3])));
  V::store(ends[1], V::max(V::max(most[0], most[1]), V::max(most[2], most[3])));
  Extremes result{ends[0][0], ends[1][0]};
  for (int i = 1; i < kWidth; ++i) {
    if (ends[0][i] < result.least) result.least = ends[0][i];
    if (ends[1][i] > result.most) result.most = ends[1][i];
  }
  return result;
}

template <typename V>
struct Quantizer {
  typename V::Floats scale, reciprocal, lo, hi;
  typename V::Integers zero;
  bool is_usual;  // reciprocals of such scales are neither infinite nor rounded coarsely

  explicit Quantizer(const RealScale& numbers)
      : scale(V::all(numbers.scale)),
        reciprocal(V::all(1.0f / numbers.scale)),
        lo(V::all(static_cast<float>(numbers.lo - numbers.zero))),
        hi(V::all(static_cast<float>(numbers.hi - numbers.zero))),
        zero(V::all(numbers.zero)),
        is_usual(numbers.scale >= 0x1p-100f && numbers.scale <= 0x1p100f) {}

  // NaN stays: it is the second operand.
  typename V::Floats clamped(typename V::Floats steps) const { return V::max(lo, V::min(hi, steps)); }

  // Four vectors; false if one holds a NaN.
  bool block(const float* x, std::uint8_t* q) const {
    typename V::Floats steps[4], whole[4];
    bool is_sure = is_usual;
    for (int i = 0; i < 4; ++i) {
      steps[i] = clamped(V::mul(V::load(x + i * V::kWidth), reciprocal));
      whole[i] = V::round(steps[i]);
    }
    is_sure = is_sure && V::all_below(V::distance(steps[0], whole[0]), V::distance(steps[1], whole[1]),
                                      V::distance(steps[2], whole[2]), V::distance(steps[3], whole[3]), kSurelyNearest);
    if (!is_sure) {
      for (int i = 0; i < 4; ++i) {
        steps[i] = clamped(V::div(V::load(x + i * V::kWidth), scale));
        if (V::has_nan(steps[i])) return false;
        whole[i] = V::round(steps[i]);
      }
    }
    V::store_bytes(q, V::add(V::to_integers(whole[0]), zero), V::add(V::to_integers(whole[1]), zero),
                   V::add(V::to_integers(whole[2]), zero), V::add(V::to_integers(whole[3]), zero));
    return true;
  }
};

template <typename V>
bool vector_quantize(const float* x, std::int64_t count, const RealScale& numbers, std::uint8_t* q) {
  constexpr int kBlock = 4 * V::kWidth;
  const Quantizer<V> quantizer(numbers);
  std::int64_t at = 0;
  for (; at + kBlock <= count; at += kBlock)
    if (!quantizer.block(x + at, q + at)) return false;
  if (at == count) return true;
  alignas(64) float padded[static_cast<std::size_t>(kBlock)] = {};
  alignas(64) std::uint8_t bytes[static_cast<std::size_t>(kBlock)];
  std::memcpy(padded, x + at, static_cast<std::size_t>(count - at) * sizeof(float));
  if (!quantizer.block(padded, bytes)) return false;
  std::memcpy(q + at, bytes, static_cast<std::size_t>(count - at));
  return true;
}

// One vector of outputs at every row.
template <typename V, bool kRowZeros, bool kWeightZeros, bool kBias>
void leave_outputs(const LeaveCall& call, std::int64_t first) {
  const std::int64_t count = call.columns - first;
  const auto scale = V::load(call.scale + first);
  const auto bias = kBias ? V::load(call.bias + first) : V::all(0.0f);
  const auto column_sum = kRowZeros ? V::load(call.column_sum + first) : V::all(0);
  const auto weight_zero = kWeightZeros ? V::load(call.weight_zero + first) : V::all(0);
  for (std::int64_t m = 0; m < call.rows; ++m) {
    auto t = V::load(call.sums + m * call.tile_n + first);
    if constexpr (kRowZeros) t = V::sub(t, V::mul(V::all(call.row_zero[m]), column_sum));
    if constexpr (kWeightZeros) t = V::sub(t, V::mul(V::all(call.row_excess[m]), weight_zero));
    auto y = V::mul(V::to_floats(t), V::mul(V::all(call.row_scale[m]), scale));
    if constexpr (kBias) y = V::add(y, bias);
    float* to = call.y + m * call.y_stride + first;
    if (count >= V::kWidth)
      V::store(to, y);
    else
      V::store_some(to, y, count);
  }
}

template <typename V, bool kRowZeros, bool kWeightZeros>
void leave_tile(const LeaveCall& call) {
  for (std::int64_t first = 0; first < call.columns; first += V::kWidth)
    call.bias ? leave_outputs<V, kRowZeros, kWeightZeros, true>(call, first)
              : leave_outputs<V, kRowZeros, kWeightZeros, false>(call, first);
}

template <typename V>
void vector_leave(const LeaveCall& call) {
  if (call.row_zero)
    call.weight_zero ? leave_tile<V, true, true>(call) : leave_tile<V, true, false>(call);
  else
    call.weight_zero ? leave_tile<V, false, true>(call) : leave_tile<V, false, false>(call);
}

}  // namespace
}  // namespace oaq
