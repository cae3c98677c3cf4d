// Requantization on vectors V. Included by files built for one instruction set each; everything is in an unnamed
// namespace, so that each has its own.
#pragma once

#include <cstring>

#include "requantize/x86/rounders.h"

namespace oaq {
namespace {

template <typename V, bool kEach>
void vector_requantize(const RequantNumbers& numbers, const std::int32_t* sums, std::size_t count, std::uint8_t* y) {
  constexpr auto kBlock = static_cast<std::size_t>(V::kBytes), kWidth = static_cast<std::size_t>(V::kWidth);
  const Leaver<V> leave(numbers);
  with_rounder<V, kEach>(numbers, [&](const auto& round) {
    const auto block = [&](const std::int32_t* from, std::size_t at) {
      typename V::Fours fours;
      for (std::size_t i = 0; i < 4; ++i) fours.part[i] = round(V::load(from + i * kWidth), at + i * kWidth);
      return leave(V::from_order(fours));
    };
    std::size_t at = 0;
    for (; at + kBlock <= count; at += kBlock) V::store(y + at, block(sums + at, at));
    if (at == count) return;
    alignas(64) std::int32_t padded[kBlock] = {};
    alignas(64) std::uint8_t bytes[kBlock];
    std::memcpy(padded, sums + at, (count - at) * sizeof(std::int32_t));
    V::store(bytes, block(padded, at));
    std::memcpy(y + at, bytes, count - at);
  });
}

}  // namespace
}  // namespace oaq
