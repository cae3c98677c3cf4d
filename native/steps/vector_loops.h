// The loops of steps without weights on vectors V (base/x86/ymm.h and its like). Included by files built for one
// instruction set each; everything is in an unnamed namespace, so that each has its own.
//
//   differences   s16   of u8 and a zero point               **exact**
//   products      s32   of two of them, in halves            **exact**
//   sums          u16   of at most 257 u8                    **exact**, then added in s32
//   mixed         s32   of u8 by weights of 11 bits, twice   **exact**: below 2^30
#pragma once

#include <algorithm>
#include <cstring>

#include "requantize/rounders.h"
#include "steps/loops.h"

namespace oaq {
namespace {

// Bytes of a vector, but none from `end` on.
template <typename V>
void store_within(std::uint8_t* y, std::size_t wanted, const std::uint8_t* end, typename V::Integers bytes) {
  if (end - y >= V::kBytes) {
    V::store(y, bytes);
    return;
  }
  alignas(64) std::uint8_t block[V::kBytes];
  V::store(block, bytes);
  std::memcpy(y, block, std::min(wanted, static_cast<std::size_t>(V::kBytes)));
}

template <typename V>
void vector_multiply(const MultiplyCall& call) {
  const auto a_zero = V::all16(static_cast<std::int16_t>(call.a_zero));
  const auto b_zero = V::all16(static_cast<std::int16_t>(call.b_zero));
  const Leaver<V> leave(call.numbers);
  with_rounder<V>(call.numbers, 0x1p16f, [&](const auto& round) {
    for (std::size_t at = 0; at < call.count; at += static_cast<std::size_t>(V::kBytes)) {
      const auto a = V::load(call.a + at), b = V::load(call.b + at);
      typename V::Fours fours;
      for (int half = 0; half < 2; ++half) {
        const auto left = V::sub16(half ? V::high16(a) : V::low16(a), a_zero);
        const auto right = V::sub16(half ? V::high16(b) : V::low16(b), b_zero);
        fours.part[2 * half] = round(V::low_products(left, right));
        fours.part[2 * half + 1] = round(V::high_products(left, right));
      }
      store_within<V>(call.y + at, call.count - at, call.y + call.count, leave(fours));
    }
  });
}

// Calls `block(offset in the pixel, its first byte, pixel)` for every vector of every pixel, and stores what it
// returns.
template <typename V, typename Block>
void for_pixels(const WindowCall& call, Block block) {
  const std::uint8_t* end = call.y + static_cast<std::size_t>(call.pixels) * call.channels;
  std::uint8_t* y = call.y;
  for (std::int64_t pixel = 0; pixel < call.pixels; ++pixel, y += call.channels) {
    const std::int64_t offset = pixel * call.step;
    for (std::size_t c = 0; c < call.channels; c += static_cast<std::size_t>(V::kBytes))
      store_within<V>(y + c, call.channels - c, end, block(offset + static_cast<std::int64_t>(c)));
  }
}

template <typename V>
void vector_largest(const WindowCall& call, std::uint8_t least, std::uint8_t most) {
  const auto lo = V::all8(least), hi = V::all8(most);
  const auto clamped = [&](typename V::Integers value) { return V::min8(V::max8(value, lo), hi); };
  if (call.taps == 3) {  // nearly every pool
    const std::uint8_t *a = call.x[0], *b = call.x[1], *c = call.x[2];
    for_pixels<V>(call, [=](std::int64_t at) {
      return clamped(V::max8(V::max8(V::load(a + at), V::load(b + at)), V::load(c + at)));
    });
    return;
  }
  for_pixels<V>(call, [&](std::int64_t at) {
    auto value = lo;
    for (std::int64_t tap = 0; tap < call.taps; ++tap) value = V::max8(value, V::load(call.x[tap] + at));
    return clamped(value);
  });
}

constexpr std::int64_t kMostIn16Bits = 257;  // times 255 is below 2^16

// Sums of bytes, in the order of V::unpack; `load(i)` is the i-th.
template <typename V, typename Load>
typename V::Fours sums_of(std::int64_t count, typename V::Integers start, Load load) {
  typename V::Fours sums{{start, start, start, start}};
  for (std::int64_t first = 0; first < count; first += kMostIn16Bits) {
    auto low = V::zero(), high = V::zero();
    for (std::int64_t i = first; i < std::min(count, first + kMostIn16Bits); ++i) {
      const auto bytes = load(i);
      low = V::add16(low, V::low16(bytes));
      high = V::add16(high, V::high16(bytes));
    }
    sums.part[0] = V::add(sums.part[0], V::low32(low));
    sums.part[1] = V::add(sums.part[1], V::high32(low));
    sums.part[2] = V::add(sums.part[2], V::low32(high));
    sums.part[3] = V::add(sums.part[3], V::high32(high));
  }
  return sums;
}

template <typename V>
void vector_average(const WindowCall& call, std::int32_t offset, const RequantNumbers& numbers) {
  const Leaver<V> leave(numbers);
  const auto start = V::all32(offset);
  with_rounder<V>(numbers, 256.0f * static_cast<float>(call.taps), [&](const auto& round) {
    for_pixels<V>(call, [&](std::int64_t at) {
      auto sums = sums_of<V>(call.taps, start, [&](std::int64_t tap) { return V::load(call.x[tap] + at); });
      for (auto& part : sums.part) part = round(part);
      return leave(sums);
    });
  });
}

// kVectors neighbouring vectors of channels, so that memory is read in its order.
template <typename V, std::size_t kVectors>
void add_up_vectors(const std::uint8_t* x, std::int64_t stride, std::int64_t pixels, std::int32_t* sums) {
  constexpr auto kBytes = static_cast<std::size_t>(V::kBytes);
  for (std::int64_t first = 0; first < pixels; first += kMostIn16Bits) {
    typename V::Integers low[kVectors], high[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) low[v] = high[v] = V::zero();
    for (std::int64_t pixel = first; pixel < std::min(pixels, first + kMostIn16Bits); ++pixel)
      for (std::size_t v = 0; v < kVectors; ++v) {
        const auto bytes = V::load(x + pixel * stride + v * kBytes);
        low[v] = V::add16(low[v], V::low16(bytes));
        high[v] = V::add16(high[v], V::high16(bytes));
      }
    for (std::size_t v = 0; v < kVectors; ++v) {
      const auto part = V::in_order({{V::low32(low[v]), V::high32(low[v]), V::low32(high[v]), V::high32(high[v])}});
      for (int i = 0; i < 4; ++i) {
        std::int32_t* to = sums + v * kBytes + i * V::kWidth;
        V::store(to, V::add(V::load(to), part.part[i]));
      }
    }
  }
}

template <typename V>
void vector_add_up(const std::uint8_t* x, std::int64_t stride, std::int64_t pixels, std::size_t channels,
                   std::int32_t* sums) {
  constexpr std::size_t kVectors = 4, kBytes = static_cast<std::size_t>(V::kBytes);
  std::size_t c = 0;
  for (; c + kVectors * kBytes <= channels; c += kVectors * kBytes)
    add_up_vectors<V, kVectors>(x + c, stride, pixels, sums + c);
  if (c + 2 * kBytes < channels) {
    add_up_vectors<V, 3>(x + c, stride, pixels, sums + c);
    c += 3 * kBytes;
  }
  for (; c < channels; c += kBytes) add_up_vectors<V, 1>(x + c, stride, pixels, sums + c);
}

// The first `count` of the sums of a vector of bytes, added to those at `to`.
template <typename V>
void add_some(const typename V::Fours& sums, std::int64_t count, std::uint32_t* to) {
  const auto ordered = V::in_order(sums);
  std::uint32_t part[static_cast<std::size_t>(V::kBytes)];
  for (int i = 0; i < 4; ++i) V::store(part + i * V::kWidth, ordered.part[i]);
  for (std::int64_t c = 0; c < count; ++c) to[c] += part[c];
}

// Sums of squares in four vectors of 32 bits, the others in 16 bits until they might not fit.
template <typename V>
void vector_add_levels(const LevelSumsCall& call) {
  constexpr std::int64_t kBytes = V::kBytes;
  for (std::int64_t channel = 0; channel < call.channels; channel += kBytes) {
    const auto off = V::load(call.off + channel), off_low = V::low16(off), off_high = V::high16(off);
    const auto zero = V::zero(), one = V::all16(1);
    typename V::Fours counts{{zero, zero, zero, zero}}, totals = counts, squares = counts;
    for (std::int64_t first = 0; first < call.pixels; first += kMostIn16Bits) {
      typename V::Integers count[2] = {zero, zero}, total[2] = {zero, zero};
      for (std::int64_t pixel = first; pixel < std::min(call.pixels, first + kMostIn16Bits); ++pixel) {
        const auto bytes = V::max8(V::load(call.x + pixel * call.stride + channel), off);
        const typename V::Integers above[2] = {V::sub16(V::low16(bytes), off_low),
                                               V::sub16(V::high16(bytes), off_high)};
        for (int half = 0; half < 2; ++half) {
          count[half] = V::add16(count[half], V::min8(above[half], one));
          total[half] = V::add16(total[half], above[half]);
          const auto square = V::mul_low16(above[half], above[half]);
          squares.part[2 * half] = V::add(squares.part[2 * half], V::low32(square));
          squares.part[2 * half + 1] = V::add(squares.part[2 * half + 1], V::high32(square));
        }
      }
      for (int half = 0; half < 2; ++half) {
        counts.part[2 * half] = V::add(counts.part[2 * half], V::low32(count[half]));
        counts.part[2 * half + 1] = V::add(counts.part[2 * half + 1], V::high32(count[half]));
        totals.part[2 * half] = V::add(totals.part[2 * half], V::low32(total[half]));
        totals.part[2 * half + 1] = V::add(totals.part[2 * half + 1], V::high32(total[half]));
      }
    }
    const std::int64_t some = std::min(kBytes, call.channels - channel);
    add_some<V>(counts, some, call.counts + channel);
    add_some<V>(totals, some, call.totals + channel);
    add_some<V>(squares, some, call.squares + channel);
  }
}

template <typename V>
void vector_mix_columns(const std::uint8_t* x, const Tap* taps, std::int64_t columns, std::size_t channels,
                        std::int32_t* mixed) {
  for (std::int64_t column = 0; column < columns; ++column, mixed += channels) {
    const Tap& tap = taps[column];
    const std::uint8_t* first = x + tap.first * static_cast<std::int64_t>(channels);
    const std::uint8_t* second = x + tap.second * static_cast<std::int64_t>(channels);
    const typename V::Weights weights((1 << kTapBits) - tap.weight, tap.weight);
    for (std::size_t c = 0; c < channels; c += static_cast<std::size_t>(V::kMixed))
      V::store_mixed(mixed + c, first + c, second + c, weights);
  }
}

template <typename V>
void vector_mix_lines(const std::int32_t* first, const std::int32_t* second, std::int32_t weight, std::size_t count,
                      std::uint8_t* y) {
  constexpr int kBits = 2 * kTapBits;
  const auto down = V::all32(weight), up = V::all32((1 << kTapBits) - weight);
  for (std::size_t at = 0; at < count; at += static_cast<std::size_t>(V::kBytes)) {
    typename V::Fours fours;
    for (int i = 0; i < 4; ++i) {
      const auto a = V::mul(V::load(first + at + i * V::kWidth), up);
      const auto b = V::mul(V::load(second + at + i * V::kWidth), down);
      fours.part[i] = V::template halved_up<kBits>(V::add(a, b));
    }
    store_within<V>(y + at, count - at, y + count, V::pack_bytes(V::from_order(fours)));
  }
}

// What a table of a requantization says, by arithmetic.
template <typename V>
void vector_rescale(const std::uint8_t* x, std::size_t count, std::int32_t x_zero, const RequantNumbers& numbers,
                    std::uint8_t* y) {
  const auto zero = V::all32(x_zero);
  const Leaver<V> leave(numbers);
  with_rounder<V>(numbers, 256.0f, [&](const auto& round) {
    for (std::size_t at = 0; at < count; at += static_cast<std::size_t>(V::kBytes)) {
      auto fours = V::unpack(V::load(x + at));
      for (auto& part : fours.part) part = round(V::sub(part, zero));
      store_within<V>(y + at, count - at, y + count, leave(fours));
    }
  });
}

// The same 16 bytes of every group, from so many windows. Where sixteen would end behind `end`, `wanted` are written.
struct PieceCall {
  const std::uint8_t* x;
  std::int64_t x_step, y_step, groups;
  const ShuffleWindow* windows;
  std::size_t count;  // of windows
  std::uint8_t* y;
  const std::uint8_t* end;
  std::size_t wanted;
};

template <typename S>
typename S::Integers piece_of(const PieceCall& call, std::int64_t group) {
  const std::uint8_t* x = call.x + group * call.x_step;
  auto result = S::zero();
  for (std::size_t i = 0; i < call.count; ++i) {
    const ShuffleWindow& window = call.windows[i];
    result = S::bits_or(result, S::shuffle8(S::load(x + window.from), S::load(window.chosen.data())));
  }
  return result;
}

// Choices stay in registers.
template <typename S, std::size_t kWindows>
void shuffle_piece(const PieceCall& call, std::int64_t groups) {
  const std::uint8_t* from[kWindows];
  typename S::Integers chosen[kWindows];
  for (std::size_t i = 0; i < kWindows; ++i) {
    from[i] = call.x + call.windows[i].from;
    chosen[i] = S::load(call.windows[i].chosen.data());
  }
  const std::int64_t x_step = call.x_step, y_step = call.y_step;
  std::uint8_t* y = call.y;
  for (std::int64_t group = 0, at = 0; group < groups; ++group, at += x_step, y += y_step) {
    auto result = S::shuffle8(S::load(from[0] + at), chosen[0]);
    for (std::size_t i = 1; i < kWindows; ++i)
      result = S::bits_or(result, S::shuffle8(S::load(from[i] + at), chosen[i]));
    S::store(y, result);
  }
}

template <typename S>
void shuffle_piece(const PieceCall& call) {
  constexpr std::int64_t kSixteen = 16;
  const std::int64_t room = call.end - call.y - kSixteen;
  const std::int64_t whole = room < 0 ? 0 : std::min(call.groups, room / call.y_step + 1);
  switch (call.count) {
    case 1:
      shuffle_piece<S, 1>(call, whole);
      break;
    case 2:
      shuffle_piece<S, 2>(call, whole);
      break;
    case 3:
      shuffle_piece<S, 3>(call, whole);
      break;
    case 4:
      shuffle_piece<S, 4>(call, whole);
      break;
    default:
      for (std::int64_t group = 0; group < whole; ++group)
        S::store(call.y + group * call.y_step, piece_of<S>(call, group));
  }
  for (std::int64_t group = whole; group < call.groups; ++group) {
    alignas(16) std::uint8_t block[kSixteen];
    S::store(block, piece_of<S>(call, group));
    std::memcpy(call.y + group * call.y_step, block, call.wanted);
  }
}

// Asks for bytes that are read in an order that nothing else foresees.
inline void fetch(const std::uint8_t* x, std::int64_t bytes) {
  constexpr std::int64_t kLine = 64;
  for (std::int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(x + i);
}

// Sixteen bytes at a time, whatever the width of vectors: windows lie anywhere. Of a few groups together the last piece
// goes first, since what it writes past its group belongs to the first piece of the next. They are as many as stay in
// the first cache; of what may lie out of the second fewer, so that memory is read nearly in its order.
template <typename S>
void shuffle_sixteens(const ShuffleCall& call) {
  constexpr std::int64_t kFar = std::int64_t{1} << 19, kTogether = 8192, kTogetherFar = 1024;  // bytes
  const Shuffle& shuffle = *call.shuffle;
  const auto bytes = static_cast<std::int64_t>(shuffle.order.size());
  const std::uint8_t* end = call.y + call.groups * bytes;
  const bool is_far = call.groups * call.x_step > kFar;
  const std::int64_t together = std::max<std::int64_t>((is_far ? kTogetherFar : kTogether) / bytes, 1);
  for (std::int64_t first = 0; first < call.groups; first += together) {
    const std::int64_t groups = std::min(together, call.groups - first);
    const std::int64_t next = std::min(together, call.groups - first - groups);
    if (is_far) fetch(call.x + (first + groups) * call.x_step, next * call.x_step);
    for (std::size_t piece = shuffle.ends.size(); piece-- > 0;) {
      const std::size_t begin = piece ? shuffle.ends[piece - 1] : 0;
      const auto at = static_cast<std::int64_t>(16 * piece);
      shuffle_piece<S>({call.x + first * call.x_step, call.x_step, bytes, groups, shuffle.windows.data() + begin,
                        shuffle.ends[piece] - begin, call.y + first * bytes + at, end,
                        static_cast<std::size_t>(std::min<std::int64_t>(bytes - at, 16))});
    }
  }
}

}  // namespace
}  // namespace oaq
