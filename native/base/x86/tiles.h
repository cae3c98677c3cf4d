// AMX's tile registers: eight of up to sixteen rows of 64 bytes, and the instructions that matrix rows need.
//
// Each function is one instruction. Compiled with OAQ_EMULATED_TILES it is plain C++ on a struct instead, by the text
// of Intel's manual: what would raise an exception there (no configuration, sizes that do not match) ends the process.
// Included by files built for one instruction set each; everything but the emulated registers is in an unnamed
// namespace.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef OAQ_EMULATED_TILES
#include <cstdlib>
#include <cstring>
#endif

namespace oaq {

inline constexpr int kTiles = 8, kTileRows = 16, kTileBytes = 64;

// What ldtilecfg reads.
struct alignas(64) TileShapes {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t unused[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
static_assert(sizeof(TileShapes) == 64);

// Every tile has so many rows of 64 bytes.
constexpr TileShapes tiles_of(int rows) {
  TileShapes shapes{};
  shapes.palette = 1;
  for (int tile = 0; tile < kTiles; ++tile) {
    shapes.row_bytes[tile] = kTileBytes;
    shapes.rows[tile] = static_cast<std::uint8_t>(rows);
  }
  return shapes;
}

#ifdef OAQ_EMULATED_TILES
struct EmulatedTiles {
  bool is_configured;
  TileShapes shapes;
  std::uint8_t at[kTiles][kTileRows][kTileBytes];
};
EmulatedTiles& emulated_tiles();  // of this thread: tiles_amx.cc
#endif

namespace {

#ifndef OAQ_EMULATED_TILES

// Tiles are empty afterwards.
inline void configure_tiles(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" : : "m"(shapes)); }

inline void release_tiles() { __asm__ volatile("tilerelease"); }

template <int kTile>
inline void clear_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

// Rows lie `stride` bytes apart.
template <int kTile>
inline void load_tile(const void* from, std::ptrdiff_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
inline void store_tile(void* to, std::ptrdiff_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}

// Adds to every s32 of kSums a row of kU8 times a column of kS8, four products for each row of kS8. Sums wrap.
template <int kSums, int kU8, int kS8>
inline void add_products() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kU8), "i"(kS8));
}

#else

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void configure_tiles(const TileShapes& shapes) {
  require(shapes.palette == 1 && shapes.start_row == 0);
  for (int tile = 0; tile < 16; ++tile)
    require(tile < kTiles ? shapes.rows[tile] <= kTileRows && shapes.row_bytes[tile] <= kTileBytes
                          : !shapes.rows[tile] && !shapes.row_bytes[tile]);
  emulated_tiles() = {};
  emulated_tiles().is_configured = true;
  emulated_tiles().shapes = shapes;
}

inline void release_tiles() { emulated_tiles() = {}; }

struct EmulatedTile {
  int rows, bytes;
  std::uint8_t (&at)[kTileRows][kTileBytes];

  explicit EmulatedTile(int tile)
      : rows(emulated_tiles().shapes.rows[tile]),
        bytes(emulated_tiles().shapes.row_bytes[tile]),
        at(emulated_tiles().at[tile]) {
    require(emulated_tiles().is_configured && rows > 0 && bytes > 0);
  }
};

template <int kTile>
inline void clear_tile() {
  const EmulatedTile tile(kTile);
  std::memset(tile.at, 0, sizeof tile.at);
}

template <int kTile>
inline void load_tile(const void* from, std::ptrdiff_t stride) {
  clear_tile<kTile>();
  const EmulatedTile tile(kTile);
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(tile.at[row], static_cast<const std::uint8_t*>(from) + row * stride,
                static_cast<std::size_t>(tile.bytes));
}

template <int kTile>
inline void store_tile(void* to, std::ptrdiff_t stride) {
  const EmulatedTile tile(kTile);
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(static_cast<std::uint8_t*>(to) + row * stride, tile.at[row], static_cast<std::size_t>(tile.bytes));
}

template <int kSums, int kU8, int kS8>
inline void add_products() {
  const EmulatedTile sums(kSums), x(kU8), w(kS8);
  require(sums.bytes % 4 == 0 && x.bytes % 4 == 0 && w.bytes % 4 == 0);
  require(sums.rows == x.rows && sums.bytes == w.bytes && x.bytes == 4 * w.rows);
  for (int row = 0; row < sums.rows; ++row)
    for (int n = 0; n < sums.bytes / 4; ++n) {
      std::uint32_t sum;
      std::memcpy(&sum, sums.at[row] + 4 * n, sizeof sum);
      for (int k = 0; k < x.bytes; ++k)
        sum += static_cast<std::uint32_t>(x.at[row][k] * static_cast<std::int8_t>(w.at[k / 4][4 * n + k % 4]));
      std::memcpy(sums.at[row] + 4 * n, &sum, sizeof sum);
    }
}

#endif

}  // namespace
}  // namespace oaq
