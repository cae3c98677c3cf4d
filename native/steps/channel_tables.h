// Tables of 256 that differ from channel to channel, on vectors V (base/x86/ymm.h and its like): tiles of 64 positions
// by 16 channels are transposed within registers, so that a register holds one channel, looked up by its table, and
// transposed back. Included by files built for one instruction set each; everything is in an unnamed namespace, so that
// each has its own.
// Gathers were not tried: one byte of each 32 bits would be of use, and loads are what the scalar row already does.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/x86/transpose.h"
#include "steps/loops.h"

namespace oaq {
namespace {

constexpr std::int64_t kTilePositions = 64, kTileChannels = 16;

// `entries(channel, registers)` replaces 64 bytes of a channel, in 64 / kBytes registers, by what its table says. The
// last tiles of positions and of channels begin where they still end inside, and write some bytes twice.
template <typename V, typename Entries>
void lookup_tiles(const ChannelLookupCall& call, const Entries& entries) {
  constexpr std::size_t kVectors = static_cast<std::size_t>(kTilePositions / V::kBytes);
  if (call.positions < kTilePositions || call.channels < kTileChannels) return look_up_channels(call);
  const std::int64_t stride = call.channels;
  for (std::int64_t row = 0; row < call.positions; row += kTilePositions) {
    const std::int64_t position = std::min(row, call.positions - kTilePositions);
    for (std::int64_t column = 0; column < call.channels; column += kTileChannels) {
      const std::int64_t channel = std::min(column, call.channels - kTileChannels);
      const std::int64_t at = position * stride + channel;
      typename V::Integers tile[kVectors][kTileChannels];
      for (std::size_t v = 0; v < kVectors; ++v) {
        for (std::int64_t i = 0; i < kTileChannels; ++i)
          tile[v][i] =
              V::load_sixteens(call.x + at + (static_cast<std::int64_t>(v) * V::kBytes + i) * stride, 16 * stride);
        transpose<V>(tile[v]);
      }
      for (std::int64_t i = 0; i < kTileChannels; ++i) {
        typename V::Integers bytes[kVectors];
        for (std::size_t v = 0; v < kVectors; ++v) bytes[v] = tile[v][i];
        entries(channel + i, bytes);
        for (std::size_t v = 0; v < kVectors; ++v) tile[v][i] = bytes[v];
      }
      for (std::size_t v = 0; v < kVectors; ++v) {
        transpose<V>(tile[v]);
        for (std::int64_t i = 0; i < kTileChannels; ++i)
          V::store_sixteens(call.y + at + (static_cast<std::int64_t>(v) * V::kBytes + i) * stride, 16 * stride,
                            tile[v][i]);
      }
    }
  }
}

}  // namespace
}  // namespace oaq
