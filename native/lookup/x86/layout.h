// How operands get to where vectors of positions find them, and results away from there: the part of lookup/x86/loops.h
// that moves bytes. Included by it; everything is in an unnamed namespace, so that each instruction set has its own.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "base/copy.h"
#include "base/unrolled.h"
#include "base/x86/transpose.h"
#include "lookup/lookup.h"

namespace oaq {
namespace {

constexpr std::int64_t kSquare = 16;  // channels, or outputs, and positions of each part of a register, transposed

// Planes of channels as sheets; no bit leaves its byte.
template <typename V, int kOperands>
void join_planes(const PackCall& call) {
  constexpr std::int64_t kWidth = V::kBytes;
  const __m128i bits = _mm_cvtsi32_si128(call.bits);
  const std::int32_t* digits = call.digits;
  std::uint8_t* to = call.to;
  const auto join = [&](auto place) __attribute__((always_inline)) {
    typename V::Integers index = V::load(call.planes + place(kOperands - 1) * kWidth);
    unrolled<kOperands - 1>([&](auto i) __attribute__((always_inline)) {
      index = V::bits_or(V::left16(index, bits), V::load(call.planes + place(kOperands - 2 - i) * kWidth));
    });
    V::store(to, call.are_sixteens ? V::collected(index) : index);
    to += call.pitch;
  };
  for (const SheetRow* row = call.rows; row < call.rows + call.row_count; ++row) {
    if (row->first > 0)
      for (std::int64_t i = 0, first = row->first; i < row->count; ++i, first += kOperands)
        join([first](int operand) { return first + operand; });
    else
      for (std::int64_t i = 0; i < row->count; ++i)
        join([from = digits + i * kOperands](int operand) { return std::int64_t{from[operand]}; });
    digits += row->count * kOperands;
  }
}

// Indices of two neighbours each: they are joined before they are transposed, half as many bytes.
template <typename V>
void pack_pairs(const PackCall& call) {
  const typename V::Integers places = V::all16(static_cast<std::int16_t>(1 << (8 + call.bits) | 1));
  std::uint8_t* to = call.to;
  for (std::int64_t channel = 0; channel < call.channels; channel += kSquare) {
    typename V::Integers tile[kSquare / 2];
    for (std::int64_t i = 0; i < kSquare / 2; ++i)
      tile[i] = V::joined_pairs(V::load_parts(call.x + channel, call.at + 2 * i),
                                V::load_parts(call.x + channel, call.at + 2 * i + 1), places);
    transpose<V, kSquare / 2>(tile);
    for (std::int64_t i = 0; i < kSquare / 2; ++i, to += call.pitch) V::store(to, tile[i]);
  }
}

template <typename V>
void pack_pixels(const PackCall& call) {
  if (call.are_pairs) return pack_pairs<V>(call);
  constexpr std::int64_t kWidth = V::kBytes;
  V::store(call.planes, V::zero());
  for (std::int64_t channel = 0; channel < call.channels; channel += kSquare) {
    typename V::Integers tile[kSquare];
    for (std::int64_t i = 0; i < kSquare; ++i)
      tile[i] = call.are_sixteens ? V::load(call.x + i * kWidth) : V::load_parts(call.x + channel, call.at + i);
    transpose<V>(tile);
    for (std::int64_t i = 0; i < kSquare; ++i) V::store(call.planes + (1 + channel + i) * kWidth, tile[i]);
  }
  switch (call.operands) {
    case 2:
      return join_planes<V, 2>(call);
    case 3:
      return join_planes<V, 3>(call);
    case 4:
      return join_planes<V, 4>(call);
    default:
      return join_planes<V, 6>(call);
  }
}

// On vectors B that hold every piece. What a piece writes behind its count is written by the next one afterwards, or
// lies behind the stream.
template <typename B>
void gather_pieces(const GatherCall& call) {
  for (std::int64_t j = 0; j < call.piece_count; ++j) {
    const LookupPiece& piece = call.pieces[j];
    const typename B::Part part(piece.inside, piece.count);
    const std::uint8_t* from = call.sheets + piece.from;
    std::uint8_t* to = call.to + piece.to;
    if (call.are_plain) {
      for (const LookupShare* share = call.shares; share < call.shares + call.share_count; ++share)
        B::store(to + share->to, part.or_zero(from + share->from));
      continue;
    }
    for (std::int64_t i = 0; i < call.share_count; ++i) {
      const LookupShare& share = call.shares[i];
      std::uint8_t* at = to + share.to;
      const auto index = part.of(from + share.from, share.pad);
      B::store(at, share.is_first ? index : B::join(index, B::load(at)));
    }
  }
}

// As many outputs as a register has bytes, sixteen in each part of it: sixteen positions at a time, which leave whole.
template <typename V>
void store_whole(const std::uint8_t* results, std::int64_t pitch, std::int64_t positions, std::uint8_t* y,
                 std::int64_t y_stride) {
  for (std::int64_t position = 0; position < positions; position += kSquare, y += kSquare * y_stride) {
    typename V::Integers tile[kSquare];
    for (std::int64_t i = 0; i < kSquare; ++i) tile[i] = V::load_rows(results + i * pitch + position, kSquare * pitch);
    transpose<V>(tile);
    const std::int64_t end = positions - position < kSquare ? positions - position : kSquare;
    if (end == kSquare)
      for (std::int64_t i = 0; i < kSquare; ++i) V::store(y + i * y_stride, tile[i]);
    else
      for (std::int64_t i = 0; i < end; ++i) V::store(y + i * y_stride, tile[i]);
  }
}

template <typename V>
void store_results(const std::uint8_t* results, std::int64_t pitch, std::int64_t outputs, std::int64_t positions,
                   std::uint8_t* y, std::int64_t y_stride) {
  constexpr std::int64_t kParts = V::kBytes / kSquare;
  std::int64_t first = 0;
  for (; first + V::kBytes <= outputs; first += V::kBytes)
    store_whole<V>(results + first * pitch, pitch, positions, y + first, y_stride);
  for (; first < outputs; first += kSquare) {
    const auto some = static_cast<int>(outputs - first < kSquare ? outputs - first : kSquare);
    for (std::int64_t position = 0; position < positions; position += V::kBytes) {
      typename V::Integers tile[kSquare];
      const bool is_whole = some == kSquare && position + V::kBytes <= positions, are_sixteens = y_stride == kSquare;
      for (std::int64_t i = 0; i < kSquare; ++i) {
        tile[i] = V::load(results + (first + i) * pitch + position);
        if (is_whole && are_sixteens) tile[i] = V::dealt(tile[i]);
      }
      transpose<V>(tile);
      std::uint8_t* to = y + position * y_stride + first;
      if (is_whole && are_sixteens) {
        for (std::int64_t i = 0; i < kSquare; ++i) V::store(to + i * V::kBytes, tile[i]);
        continue;
      }
      if (is_whole) {
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

}  // namespace
}  // namespace oaq
