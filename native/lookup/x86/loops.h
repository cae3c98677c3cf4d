// Loops of lookup/lookup.h on vectors V (base/x86/ymm.h) with what `Bytes` adds to them: how tables are read, and how
// bytes are masked. Included by files built for one instruction set each; everything is in an unnamed namespace, so
// that each has its own.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "base/copy.h"
#include "base/x86/transpose.h"
#include "lookup/lookup.h"

namespace oaq {
namespace {

constexpr std::int64_t kSquare = 16;  // channels, or outputs, and positions of each part of a register, transposed

template <typename V>
void pack_pixels(const PackCall& call) {
  constexpr std::int64_t kWidth = V::kBytes;
  V::store(call.planes, V::zero());
  for (std::int64_t channel = 0; channel < call.channels; channel += kSquare) {
    typename V::Integers tile[kSquare];
    for (std::int64_t i = 0; i < kSquare; ++i) tile[i] = V::load_parts(call.x + channel, call.at + i);
    transpose<V>(tile);
    for (std::int64_t i = 0; i < kSquare; ++i) V::store(call.planes + (1 + channel + i) * kWidth, tile[i]);
  }
  const __m128i bits = _mm_cvtsi32_si128(call.bits);
  const std::int32_t* digits = call.digits;
  for (std::int64_t sheet = 0; sheet < call.sheets; ++sheet, digits += call.operands) {
    typename V::Integers index = V::load(call.planes + digits[call.operands - 1] * kWidth);
    for (int i = call.operands - 2; i >= 0; --i)  // no bit leaves its byte
      index = V::bits_or(V::left16(index, bits), V::load(call.planes + digits[i] * kWidth));
    V::store(call.to + sheet * call.pitch, index);
  }
}

// On vectors B that hold every piece. What a piece writes behind its count is written by the next one afterwards, or
// lies behind the stream.
template <typename B>
void gather_pieces(const GatherCall& call) {
  for (std::int64_t j = 0; j < call.piece_count; ++j) {
    const LookupPiece& piece = call.pieces[j];
    const typename B::Part part(piece.begin, piece.end, piece.count);
    const std::uint8_t* from = call.sheets + piece.from;
    std::uint8_t* to = call.to + piece.to;
    for (std::int64_t i = 0; i < call.share_count; ++i) {
      const LookupShare& share = call.shares[i];
      std::uint8_t* at = to + share.stream * call.stream_pitch;
      const auto index = part.of(from + share.sheet * call.pitch, call.pads[share.sheet]);
      B::store(at, share.is_first ? index : B::join(index, B::load(at)));
    }
  }
}

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

// A tile of outputs at kVectors vectors of positions: 4 * kVectors sums stay in registers.
template <typename V, int kVectors>
void sum_tile(const LookupCall& call) {
  constexpr std::int64_t kWidth = V::kBytes;
  constexpr std::int64_t kWords = kWidth * V::kVectors / 2;
  typename V::Integers sums[kLookupOutputs][static_cast<std::size_t>(kVectors)];
  const std::uint8_t* tables = call.tables;
  const std::uint32_t* places = call.places;
  for (auto& output : sums)
    for (auto& sum : output) sum = V::all8(call.bytes ? 0 : kRunStart);
  for (std::int64_t run = 0; run < call.run_count; ++run) {
    const std::int64_t* index_at = call.index_at + call.runs[run].start;
    for (std::int32_t step = call.runs[run].count; step > 0; --step, ++index_at, places += kLookupOutputs) {
      const std::uint8_t* index = call.index + *index_at;
      for (std::int64_t n = 0; n < kLookupOutputs; ++n) {
        const typename V::Integers table = V::spread_table(tables + places[n]);
        for (std::int64_t v = 0; v < kVectors; ++v)
          sums[n][v] = V::add8(sums[n][v], V::entries(table, index + v * kWidth));
      }
    }
    if (call.bytes) continue;
    for (std::int64_t n = 0; n < kLookupOutputs; ++n)
      for (std::int64_t v = 0; v < kVectors; ++v) {
        std::uint16_t* words = call.words + n * kWords + v * kWidth / 2;
        std::uint16_t* uppers = call.uppers + n * kWords + v * kWidth / 2;
        typename V::Integers word = sums[n][v], upper = V::upper_bytes(sums[n][v]);
        if (run > 0) word = V::add16(word, V::load(words)), upper = V::add16(upper, V::load(uppers));
        V::store(words, word);
        V::store(uppers, upper);
        sums[n][v] = V::all8(kRunStart);
      }
  }
  if (!call.bytes) return;
  for (std::int64_t n = 0; n < kLookupOutputs; ++n)
    for (std::int64_t v = 0; v < kVectors; ++v) V::store(call.bytes + n * call.bytes_pitch + v * kWidth, sums[n][v]);
}

template <typename V, int... kVectors>
void sum_any(const LookupCall& call, int vectors, std::integer_sequence<int, kVectors...>) {
  static_cast<void>(((vectors == kVectors + 1 && (sum_tile<V, kVectors + 1>(call), true)) || ...));
}

template <typename V>
void sum_group(const LookupCall& call, int vectors) {
  sum_any<V>(call, vectors, std::make_integer_sequence<int, V::kVectors>());
}

// Sums of positions 2 i, and of positions 2 i + 1, as 16 bits without a sign.
template <typename V>
struct EvenOdd {
  typename V::Integers even, odd;
  EvenOdd(const LookupSums& sums, std::int64_t position)
      : even(V::load(sums.words + position / 2)), odd(V::load(sums.uppers + position / 2)) {
    even = V::sub16(even, V::upper_of(odd));
  }
};

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
void store_results(const std::uint8_t* results, std::int64_t pitch, std::int64_t outputs, std::int64_t positions,
                   std::uint8_t* y, std::int64_t y_stride) {
  constexpr std::int64_t kParts = V::kBytes / kSquare;
  for (std::int64_t first = 0; first < outputs; first += kSquare) {
    const auto some = static_cast<int>(outputs - first < kSquare ? outputs - first : kSquare);
    for (std::int64_t position = 0; position < positions; position += V::kBytes) {
      typename V::Integers tile[kSquare];
      for (std::int64_t i = 0; i < kSquare; ++i) tile[i] = V::load(results + (first + i) * pitch + position);
      transpose<V>(tile);
      std::uint8_t* to = y + position * y_stride + first;
      if (some == kSquare && position + V::kBytes <= positions) {
        for (std::int64_t i = 0; i < kSquare; ++i) V::store_sixteens(to + i * y_stride, kSquare * y_stride, tile[i]);
        continue;
      }
      alignas(64) std::uint8_t bytes[kSquare][V::kBytes];
      for (std::int64_t i = 0; i < kSquare; ++i) V::store(bytes[i], tile[i]);
      const std::int64_t end = positions - position < V::kBytes ? positions - position : V::kBytes;
      for (std::int64_t i = 0; i < end; ++i)
        copy_short(to + i * y_stride, bytes[i % kSquare] + i / kSquare * kSquare, some);
    }
  }
  static_assert(kParts * kSquare == V::kBytes);
}

template <typename V>
constexpr LookupLoops loops_of() {
  return {V::kBytes,    V::kEntries,     V::kVectors,   pack_pixels<V>, V::gather,       build_tables<V>,
          sum_group<V>, count_levels<V>, widen_sums<V>, V::look_up,     store_results<V>};
}

}  // namespace
}  // namespace oaq
