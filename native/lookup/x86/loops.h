// Loops of lookup/lookup.h on vectors V (base/x86/ymm.h) with what `Bytes` adds to them: how tables are read, and how
// bytes are masked. Included by files built for one instruction set each; everything is in an unnamed namespace, so
// that each has its own.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "base/unrolled.h"
#include "lookup/lookup.h"
#include "lookup/x86/layout.h"
#include "requantize/rounders.h"

namespace oaq {
namespace {

// Bytes of words packed from two vectors, in turn.
alignas(16) constexpr std::uint8_t kTurns[16] = {0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15};

template <typename V>
void build_tables(const BuildCall& call) {
  constexpr std::int64_t kEntries = V::kEntries;
  const std::int64_t of_operand = (call.weights.hi - call.weights.lo + 1) * kEntries;
  const std::int8_t* w = call.packed;
  std::uint8_t* to = call.tables;
  const std::uint8_t* zero = call.multiples - call.weights.lo * kEntries;
  for (std::int64_t i = 0; i < call.steps * kLookupOutputs; ++i, to += kEntries) {
    auto sum = V::load_table(zero + *w++ * kEntries);
    for (int operand = 1; operand < call.operands; ++operand)
      sum = V::add_tables(sum, V::load_table(zero + operand * of_operand + *w++ * kEntries));
    V::store_table(to, sum);
  }
}

// Sums of positions 2 i, and of positions 2 i + 1, as 16 bits without a sign; as s32 in the order of V::unpack.
template <typename V>
struct EvenOdd {
  typename V::Integers even, odd;
  EvenOdd(typename V::Integers word, typename V::Integers upper)
      : even(V::sub16(word, V::upper_of(upper))), odd(upper) {}
  EvenOdd(const LookupSums& sums, std::int64_t position)
      : EvenOdd(V::load(sums.words + position / 2), V::load(sums.uppers + position / 2)) {}
  typename V::Fours fours() const {
    const typename V::Integers low = V::low32(even, odd), high = V::high32(even, odd);
    return {{V::low32(low), V::high32(low), V::low32(high), V::high32(high)}};
  }
};

// A tile of outputs at kVectors vectors of positions: 4 * kVectors sums stay in registers, and kVectors indices. Loads
// of any width go through the same two ports on some CPUs: a step's four places are one, and its indices need none.
template <typename V, int kVectors>
struct TileSums {
  using Integers = typename V::Integers;
  static constexpr std::int64_t kWidth = V::kBytes, kWords = kWidth * V::kVectors / 2;
  static constexpr int kOutputs = kLookupOutputs;
  Integers sums[static_cast<std::size_t>(kOutputs)][static_cast<std::size_t>(kVectors)];

  // body(output, vector)
  template <typename Body>
  [[gnu::always_inline]] static void each(Body body) {
    unrolled<kOutputs>([&](auto n) __attribute__((always_inline)) {
      unrolled<kVectors>([&](auto v) __attribute__((always_inline)) { body(n, v); });
    });
  }

  [[gnu::always_inline]] void clear() {
    each([&](auto n, auto v) __attribute__((always_inline)) { sums[n][v] = V::zero(); });
  }

  [[gnu::always_inline]] void add(const LookupStretch& stretch, const LookupCall& call, std::int64_t executed) {
    if (call.places)
      call.stays_in_bytes ? add<true, true>(stretch, call, executed) : add<true, false>(stretch, call, executed);
    else
      call.stays_in_bytes ? add<false, true>(stretch, call, executed) : add<false, false>(stretch, call, executed);
  }

  template <bool kPlaced, bool kSaturates>
  [[gnu::always_inline]] void add(const LookupStretch& stretch, const LookupCall& call, std::int64_t executed) {
    const std::uint8_t* index = call.index + stretch.at;
    const std::uint8_t* tables = call.tables + (kPlaced ? 0 : executed * kLookupOutputs * V::kEntries);
    const std::uint16_t* places = kPlaced ? call.places + executed * kLookupOutputs : nullptr;
    for (std::int32_t step = stretch.steps; step > 0; --step, index += stretch.apart) {
      Integers at[static_cast<std::size_t>(kVectors)];
      unrolled<kVectors>([&](auto v) __attribute__((always_inline)) { at[v] = V::load(index + v * kWidth); });
      std::uint64_t four = 0;
      if constexpr (kPlaced) std::memcpy(&four, places, sizeof four), places += kLookupOutputs;
      unrolled<kOutputs>([&](auto n) __attribute__((always_inline)) {
        constexpr std::uint64_t kPlace = n;
        const std::uint64_t place = kPlaced ? (four >> (16 * kPlace) & 0xFFFF) * kPlaceUnit : kPlace * V::kEntries;
        const Integers table = V::spread_table(tables + place);
        unrolled<kVectors>([&](auto v) __attribute__((always_inline)) {
          const Integers entry = V::entries(table, at[v]);
          sums[n][v] = kSaturates ? V::add_saturated8(sums[n][v], entry) : V::add8(sums[n][v], entry);
        });
      });
      if constexpr (!kPlaced) tables += kLookupOutputs * V::kEntries;
    }
  }

  // Words and upper bytes of an output: of this run, of the `kept` ones before it, and of those in words if `more`.
  struct Words {
    Integers word[static_cast<std::size_t>(kVectors)], upper[static_cast<std::size_t>(kVectors)];
  };
  static constexpr std::int64_t place(std::int64_t n, std::int64_t v) { return n * kWords + v * kWidth / 2; }

  template <int kOutput>
  [[gnu::always_inline]] Words words(const LookupCall& call, std::int64_t kept, bool more) const {
    Words all;
    const auto each_vector = [&](auto body) __attribute__((always_inline)) { unrolled<kVectors>(body); };
    each_vector([&](auto v) __attribute__((always_inline)) {
      all.word[v] = V::bits_xor(sums[kOutput][v], V::all8(kRunStart));
      all.upper[v] = V::upper_bytes(all.word[v]);
    });
    const std::uint8_t* from = call.kept + 2 * place(kOutput, 0);
    for (; kept > 0; --kept, from += 2 * kOutputs * kWords)
      each_vector([&](auto v) __attribute__((always_inline)) {
        const Integers word = V::load(from + v * kWidth);
        all.word[v] = V::add16(all.word[v], word);
        all.upper[v] = V::add16(all.upper[v], V::upper_bytes(word));
      });
    if (more)
      each_vector([&](auto v) __attribute__((always_inline)) {
        all.word[v] = V::add16(all.word[v], V::load(call.words + place(kOutput, v)));
        all.upper[v] = V::add16(all.upper[v], V::load(call.uppers + place(kOutput, v)));
      });
    return all;
  }

  [[gnu::always_inline]] void keep(const LookupCall& call, std::int64_t kept) const {
    std::uint8_t* to = call.kept + 2 * kept * kOutputs * kWords;
    each([&](auto n, auto v) __attribute__((always_inline)) {
      V::store(to + 2 * place(n, v), V::bits_xor(sums[n][v], V::all8(kRunStart)));
    });
  }

  [[gnu::always_inline]] void spill(const LookupCall& call, std::int64_t kept, bool more) const {
    unrolled<kOutputs>([&](auto n) __attribute__((always_inline)) {
      const Words all = words<n>(call, kept, more);
      unrolled<kVectors>([&](auto v) __attribute__((always_inline)) {
        V::store(call.words + place(n, v), all.word[v]);
        V::store(call.uppers + place(n, v), all.upper[v]);
      });
    });
  }

  [[gnu::always_inline]] void store(const LookupCall& call) const {
    each([&](auto n, auto v)
             __attribute__((always_inline)) { V::store(call.results + n * call.pitch + v * kWidth, sums[n][v]); });
  }

  [[gnu::always_inline]] void scale(const LookupCall& call, std::int64_t kept, bool more) const {
    const LookupScales& scales = *call.scales;
    const Leaver<V> leave(scales.numbers);
    unrolled<kOutputs>([&](auto n) __attribute__((always_inline)) {
      const Words all = words<n>(call, kept, more);
      const FloatRounder<V, true> round(V::all(scales.scale[n]), scales.numbers);
      const Integers add = V::all32(scales.add[n]);
      unrolled<kVectors>([&](auto v) __attribute__((always_inline)) {
        typename V::Fours fours = EvenOdd<V>(all.word[v], all.upper[v]).fours();
        for (Integers& part : fours.part) part = round(V::add(part, add));
        V::store(call.results + n * call.pitch + v * kWidth, leave(fours));
      });
    });
  }

  // Sums less `below` are cut off to bytes, which changes no comparison with thresholds that are bytes.
  [[gnu::always_inline]] void count(const LookupCall& call, std::int64_t kept, bool more) const {
    const LookupLevels& levels = *call.levels;
    unrolled<kOutputs>([&](auto n) __attribute__((always_inline)) {
      const Integers below = V::all16(static_cast<std::int16_t>(levels.below[n]));
      Integers sum[static_cast<std::size_t>(kVectors)], reached[static_cast<std::size_t>(kVectors)];
      const Words all = words<n>(call, kept, more);
      unrolled<kVectors>([&](auto v) __attribute__((always_inline)) {
        const Integers even = V::sub16(all.word[v], V::upper_of(all.upper[v]));
        sum[v] = V::pack_in_turn(V::sub16(even, below), V::sub16(all.upper[v], below));
        reached[v] = V::all8(levels.least);
      });
      const std::uint8_t* thresholds = levels.thresholds + n * levels.count;
      for (int level = 0; level < levels.count; ++level) {
        const Integers threshold = V::all8(thresholds[level]);
        unrolled<kVectors>([&](auto v) __attribute__((always_inline)) {
          reached[v] = V::one_more_byte_where_reached(reached[v], sum[v], threshold);
        });
      }
      unrolled<kVectors>([&](auto v) __attribute__((always_inline)) {
        V::store(call.results + n * call.pitch + v * kWidth, reached[v]);
      });
    });
  }
};

template <typename V, int kVectors>
void sum_tile(const LookupCall& call) {
  TileSums<V, kVectors> tile;
  tile.clear();
  const LookupStretch* const last = call.stretches + call.stretch_count - 1;
  const bool spills = !call.results || call.levels || call.scales;
  bool more = false;  // in words, besides `kept` runs
  std::int64_t executed = 0, kept = 0;
  for (const LookupStretch* stretch = call.stretches;; ++stretch) {
    tile.add(*stretch, call, executed);
    if (stretch == last) break;
    executed += stretch->steps;
    if (!stretch->ends_run || !spills) continue;
    if (kept < kKeptRuns) {
      tile.keep(call, kept++);
    } else {
      tile.spill(call, kept, more);
      kept = 0, more = true;
    }
    tile.clear();
  }
  if (call.levels)
    tile.count(call, kept, more);
  else if (call.scales)
    tile.scale(call, kept, more);
  else
    call.results ? tile.store(call) : tile.spill(call, kept, more);
}

template <typename V, int... kVectors>
void sum_any(const LookupCall& call, int vectors, std::integer_sequence<int, kVectors...>) {
  static_cast<void>(((vectors == kVectors + 1 && (sum_tile<V, kVectors + 1>(call), true)) || ...));
}

template <typename V>
void sum_group(const LookupCall& call, int vectors) {
  sum_any<V>(call, vectors, std::make_integer_sequence<int, V::kVectors>());
}

template <typename V>
void count_levels(const LookupSums& sums, const std::uint16_t* thresholds, int levels, std::uint8_t least,
                  std::uint8_t* y) {
  for (std::int64_t position = 0; position < sums.positions; position += V::kBytes) {
    const EvenOdd<V> of(sums, position);
    typename V::Integers even = V::all16(least), odd = even;
    for (int level = 0; level < levels; ++level) {
      const typename V::Integers threshold = V::all16(static_cast<std::int16_t>(thresholds[level]));
      even = V::one_more_where_reached(even, of.even, threshold);
      odd = V::one_more_where_reached(odd, of.odd, threshold);
    }
    V::store(y + position, V::bits_or(even, V::upper_of(odd)));
  }
}

template <typename V>
void requantize_sums(const LookupSums& sums, const RequantNumbers& numbers, std::int32_t add, std::uint8_t* y) {
  const typename V::Integers every = V::all32(add);
  const Leaver<V> leave(numbers);
  with_rounder<V>(numbers, 0x1p31f, [&](const auto& round) {
    for (std::int64_t position = 0; position < sums.positions; position += V::kBytes) {
      const EvenOdd<V> of(sums, position);
      typename V::Fours fours = of.fours();
      for (typename V::Integers& part : fours.part) part = round(V::add(part, every));
      V::store(y + position, leave(fours));
    }
  });
}

template <typename V>
void widen_sums(const LookupSums& sums, std::int32_t add, bool more, std::int32_t* to) {
  const typename V::Integers every = V::all32(add);
  for (std::int64_t position = 0; position < sums.positions; position += V::kBytes) {
    const EvenOdd<V> of(sums, position);
    alignas(64) std::uint16_t in_order[V::kBytes];
    V::store_alternating(in_order, of.even, of.odd);
    for (std::int64_t at = 0; at < V::kBytes; at += V::kWidth) {
      typename V::Integers sum = V::add(V::widen16(in_order + at), every);
      if (more) sum = V::add(sum, V::load(to + position + at));
      V::store(to + position + at, sum);
    }
  }
}

template <typename V>
constexpr LookupLoops loops_of() {
  return {V::kBytes,    V::kEntries,     V::kVectors,        pack_pixels<V>, V::gather,  build_tables<V>,
          sum_group<V>, count_levels<V>, requantize_sums<V>, widen_sums<V>,  V::look_up, store_results<V>};
}

}  // namespace
}  // namespace oaq
