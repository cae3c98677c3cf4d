// Requantization on vectors V. Included by files built for one instruction set each; everything is in an unnamed
// namespace, so that each has its own.
#pragma once

#include <cstring>

#include "requantize/rounders.h"

namespace oaq {
namespace {

// A vector of columns at four rows together; a row that is not there is the last one again.
template <typename V>
void vector_requantize_rows(const RequantNumbers& numbers, const SumRows& sums, std::uint8_t* y,
                            std::int64_t y_stride) {
  const Leaver<V> leave(numbers);
  for (std::int64_t column = 0; column < sums.columns; column += V::kWidth) {
    const std::int64_t some = sums.columns - column < V::kWidth ? sums.columns - column : V::kWidth;
    with_rounder_at<V>(numbers, static_cast<std::size_t>(column), [&](const auto& round) {
      for (std::int64_t row = 0; row < sums.rows; row += 4) {
        const std::int64_t last = sums.rows - row < 4 ? sums.rows - row - 1 : 3;
        typename V::Fours fours;
        for (std::int64_t i = 0; i < 4; ++i) {
          const std::int32_t* from = sums.first + (row + (i < last ? i : last)) * sums.stride + column;
          fours.part[i] = round(some == V::kWidth ? V::load(from) : V::load_some(from, some));
        }
        alignas(64) std::uint8_t bytes[V::kBytes];
        V::store(bytes, V::rows_in_order(leave(fours)));
        std::uint8_t* to = y + row * y_stride + column;
        for (std::int64_t i = 0; i <= last; ++i, to += y_stride)
          some == V::kWidth ? std::memcpy(to, bytes + i * V::kWidth, V::kWidth)
                            : std::memcpy(to, bytes + i * V::kWidth, static_cast<std::size_t>(some));
      }
    });
  }
}

template <typename V>
void vector_requantize_all(const RequantNumbers& numbers, const std::int32_t* sums, std::size_t count,
                           std::uint8_t* y) {
  constexpr auto kBlock = static_cast<std::size_t>(V::kBytes), kWidth = static_cast<std::size_t>(V::kWidth);
  const Leaver<V> leave(numbers);
  with_rounder<V>(numbers, 0x1p31f, [&](const auto& round) {
    const auto block = [&](const std::int32_t* from) {
      typename V::Fours fours;
      for (std::size_t i = 0; i < 4; ++i) fours.part[i] = round(V::load(from + i * kWidth));
      return leave(V::from_order(fours));
    };
    std::size_t at = 0;
    for (; at + kBlock <= count; at += kBlock) V::store(y + at, block(sums + at));
    if (at == count) return;
    alignas(64) std::int32_t padded[kBlock] = {};
    alignas(64) std::uint8_t bytes[kBlock];
    std::memcpy(padded, sums + at, (count - at) * sizeof(std::int32_t));
    V::store(bytes, block(padded));
    std::memcpy(y + at, bytes, count - at);
  });
}

}  // namespace
}  // namespace oaq
