// The matrix row of AMX: up to 32 positions by 32 outputs, 64 k a step.
//
//   4 tiles of 16 x 16 x s32: sixteen positions by sixteen outputs   tdpbusd   **exact**: proved in s32
//
// Two tiles of operands and two of weights make four of sums, so that every load serves two products. Weights of a step
// are sixteen quads of k, each of all 32 outputs: a tile of weights is every other line of them. A tile of operands is
// read where they lie, 64 bytes of each position: what is beyond the last k is multiplied by weights of zero, and
// belongs to the slack of every buffer (base/aligned.h). A group of 17 to 31 positions is two tiles of sixteen that
// overlap, so that no tile reads a position that is not there; fewer than sixteen have tiles of so many rows, for one
// call.
//
// Sums leave their tiles for 4 KiB of memory and are read from there as 16 x s32: requantized in one of the three ways
// of requantize/ways.h, packed to s16 and to u8, which both **saturate** and change nothing that the clamp keeps.
#include <immintrin.h>

#include "base/aligned.h"
#include "base/unrolled.h"
#include "base/x86/tiles.h"
#include "gemm/gemm.h"

namespace oaq {
namespace {

constexpr int kOutputs = 32, kMostRows = 2 * kTileRows, kVector = 16;
constexpr std::ptrdiff_t kSumsBytes = kOutputs * 4, kQuadBytes = kOutputs * 4, kStepBytes = kOutputs * kTileBytes;

// Tiles by number: sums [block][vector], operands [block], weights [vector].
constexpr int sums_tile(int block, int vector) { return 2 * block + vector; }
constexpr int x_tile(int block) { return 4 + block; }
constexpr int w_tile(int vector) { return 6 + vector; }

struct Sums {
  alignas(64) std::int32_t at[kMostRows][kOutputs];
};

inline void fetch(const std::int8_t* weights) {
  unrolled<kStepBytes / static_cast<int>(kLine)>([&](auto line) {
    _mm_prefetch(reinterpret_cast<const char*>(weights) + std::ptrdiff_t{line} * static_cast<int>(kLine), _MM_HINT_T1);
  });
}

template <int kBlock, int kVectors>
inline void add_to_block() {
  unrolled<kVectors>([](auto v) { add_products<sums_tile(kBlock, v), x_tile(kBlock), w_tile(v)>(); });
}

// All runs of a tile of outputs at one group of positions: they end where they like, s32 sums wrap in between.
template <int kBlocks, int kVectors>
void sum_group(const GemmCall& call, const std::uint8_t* x, std::ptrdiff_t second, std::int64_t next, Sums& sums) {
  unrolled<kBlocks * kVectors>([](auto i) { clear_tile<sums_tile(i / kVectors, i % kVectors)>(); });
  const std::int8_t* w = call.packed;
  const Piece* const end = call.pieces + call.piece_count;
  for (const Piece* piece = call.pieces; piece != end; ++piece) {
    const std::uint8_t* at = x + piece->first;
    w += piece->skipped;
    for (std::int32_t step = piece->steps; step > 0; --step, at += kTileBytes, w += kStepBytes) {
      unrolled<kVectors>([&](auto v) { load_tile<w_tile(v)>(w + v * kTileBytes, kQuadBytes); });
      unrolled<kBlocks>([&](auto block) {
        load_tile<x_tile(block)>(at + block * second * call.stride, call.stride);
        add_to_block<block, kVectors>();
      });
      if (next) fetch(w + next);
    }
  }
  unrolled<kBlocks * kVectors>([&](auto i) {
    constexpr int block = i / kVectors, v = i % kVectors;
    store_tile<sums_tile(block, v)>(&sums.at[block * second][v * kVector], kSumsBytes);
  });
}

__m512i all16(std::int32_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
__m512i all8(std::int32_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }

// Ways out, with what they need in registers: stores of bytes may change anything in memory. Where the zero point and
// the lowest value are not 0, `shifted` adds the one and `held` keeps the other.
template <int kVectors>
struct General {
  __m512 scale[2];
  __m512i zero, lo;

  explicit General(const GemmCall& call) : zero(all16(call.zero)), lo(all8(call.lo)) {
    unrolled<kVectors>([&](auto v) { scale[v] = _mm512_loadu_ps(call.scale + v * kVector); });
  }
  __m512i product(__m512i sums, int v) const {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale[v]));
  }
  __m512i shifted(__m512i words) const { return _mm512_adds_epi16(words, zero); }
  __m512i held(__m512i bytes) const { return _mm512_max_epu8(bytes, lo); }
};

template <int kVectors>
struct Floats {
  __m512 scale[2], addend[2];

  explicit Floats(const GemmCall& call) {
    unrolled<kVectors>([&](auto v) {
      scale[v] = _mm512_loadu_ps(call.scale + v * kVector);
      addend[v] = _mm512_loadu_ps(call.addend + v * kVector);
    });
  }
  __m512i product(__m512i sums, int v) const {
    return _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_castsi512_ps(sums), scale[v], addend[v]));
  }
  __m512i shifted(__m512i words) const { return words; }
  __m512i held(__m512i bytes) const { return bytes; }
};

template <int kVectors>
struct Words {
  __m512i multiplier;

  explicit Words(const GemmCall& call) : multiplier(_mm512_loadu_si512(call.words)) {}
  __m512i product(__m512i sums, int) const { return sums; }
  __m512i shifted(__m512i words) const { return _mm512_mulhrs_epi16(words, multiplier); }
  __m512i held(__m512i bytes) const { return bytes; }
};

template <int kVectors>
struct MovedWords {
  __m512i multiplier, zero, lo;

  explicit MovedWords(const GemmCall& call)
      : multiplier(_mm512_loadu_si512(call.words)), zero(all16(call.zero)), lo(all8(call.lo)) {}
  __m512i product(__m512i sums, int) const { return sums; }
  __m512i shifted(__m512i words) const { return _mm512_adds_epi16(_mm512_mulhrs_epi16(words, multiplier), zero); }
  __m512i held(__m512i bytes) const { return _mm512_max_epu8(bytes, lo); }
};

// Packing works within 128 bits: it leaves four of each register of sums in turn.
template <typename Rounding>
__m512i packed(const Rounding& rounding, const __m512i (&sums)[4], __m512i hi) {
  const __m512i lower = rounding.shifted(_mm512_packs_epi32(sums[0], sums[1]));
  const __m512i upper = rounding.shifted(_mm512_packs_epi32(sums[2], sums[3]));
  const __m512i bytes = _mm512_min_epu8(rounding.held(_mm512_packus_epi16(lower, upper)), hi);
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes);
}

// Two rows of 32 outputs at a time, or four of 16; a row that is not there is the last one again.
template <typename Rounding, int kVectors>
void leave_as_bytes(const GemmCall& call, const Sums& sums, int rows, std::uint8_t* y) {
  constexpr int kTogether = 4 / kVectors;
  const Rounding rounding(call);
  const __m512i hi = all8(call.hi);
  const std::ptrdiff_t stride = call.y_stride;
  __m512i bias[2];
  unrolled<kVectors>([&](auto v) { bias[v] = _mm512_loadu_si512(call.bias + v * kVector); });
  for (int row = 0; row < rows; row += kTogether, y += kTogether * stride) {
    const int last = rows - row < kTogether ? rows - row - 1 : kTogether - 1;
    __m512i four[4];
    unrolled<4>([&](auto i) {
      constexpr int of = i / kVectors, v = i % kVectors;
      const std::int32_t* from = &sums.at[row + (of < last ? of : last)][v * kVector];
      four[i] = rounding.product(_mm512_add_epi32(_mm512_load_si512(from), bias[v]), v);
    });
    const __m512i bytes = packed(rounding, four, hi);
    if constexpr (kVectors == 2) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm512_castsi512_si256(bytes));
      if (last) _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + stride), _mm512_extracti64x4_epi64(bytes, 1));
    } else {
      unrolled<4>([&](auto i) {
        constexpr int of = i;
        if (of <= last)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(y + of * stride), _mm512_extracti32x4_epi32(bytes, of));
      });
    }
  }
}

// Sums that stay are (rows, 32) in memory.
template <int kVectors>
void leave_as_sums(const GemmCall& call, const Sums& sums, int rows) {
  std::int32_t* to = call.sums;
  for (int v = 0; v < kVectors; ++v) {
    const __m512i bias = _mm512_loadu_si512(call.bias + v * kVector);
    for (int row = 0; row < rows; ++row)
      _mm512_storeu_si512(to + row * kOutputs + v * kVector,
                          _mm512_add_epi32(_mm512_load_si512(&sums.at[row][v * kVector]), bias));
  }
}

template <int kVectors>
void leave(const GemmCall& call, const Sums& sums, int rows, std::uint8_t* y) {
  if (!y)
    leave_as_sums<kVectors>(call, sums, rows);
  else if (call.way == Way::kWords)
    leave_as_bytes<Words<kVectors>, kVectors>(call, sums, rows, y);
  else if (call.way == Way::kMovedWords)
    leave_as_bytes<MovedWords<kVectors>, kVectors>(call, sums, rows, y);
  else if (call.way == Way::kFloats)
    leave_as_bytes<Floats<kVectors>, kVectors>(call, sums, rows, y);
  else
    leave_as_bytes<General<kVectors>, kVectors>(call, sums, rows, y);
}

template <int kBlocks, int kVectors>
void sum_lines(const GemmCall& call, int rows) {
  Sums sums;
  const std::uint8_t* x = call.x;
  std::uint8_t* y = call.y;
  std::int64_t groups = call.groups, next = call.next;
  for (std::int64_t line = call.lines; line > 0; --line, groups = call.line_groups) {
    for (std::int64_t group = groups; group > 0; --group, next = 0) {
      sum_group<kBlocks, kVectors>(call, x, rows - kTileRows, next, sums);
      leave<kVectors>(call, sums, rows, y);
      if (group > 1) {
        x += rows * call.stride;
        if (y) y += rows * call.y_stride;
      }
    }
    x += call.x_jump;
    if (y) y += call.y_jump;
  }
}

template <int kVectors, int kRows>
void sum_tile(GemmCall* at) {
  const GemmCall call = *at;  // a copy, so that stores to y are known not to change it
  if constexpr (kRows > kTileRows) {
    sum_lines<2, kVectors>(call, kRows);
  } else if constexpr (kRows == kTileRows) {
    sum_lines<1, kVectors>(call, kRows);
  } else {  // operands and sums of so many rows, weights of sixteen
    static constexpr TileShapes kWhole = tiles_of(kTileRows), kShort = [] {
      TileShapes shapes = tiles_of(kRows);
      for (int v = 0; v < 2; ++v) shapes.rows[w_tile(v)] = kTileRows;
      return shapes;
    }();
    configure_tiles(kShort);
    sum_lines<1, kVectors>(call, kRows);
    configure_tiles(kWhole);
  }
}

// The functions of one part, by rows.
#define OAQ_FOUR(vectors, first)                                                                           \
  oaq::sum_tile<vectors, first>, oaq::sum_tile<vectors, (first) + 1>, oaq::sum_tile<vectors, (first) + 2>, \
      oaq::sum_tile<vectors, (first) + 3>
#define OAQ_ROWS(vectors)                                                                                         \
  OAQ_FOUR(vectors, 1), OAQ_FOUR(vectors, 5), OAQ_FOUR(vectors, 9), OAQ_FOUR(vectors, 13), OAQ_FOUR(vectors, 17), \
      OAQ_FOUR(vectors, 21), OAQ_FOUR(vectors, 25), OAQ_FOUR(vectors, 29)

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(amx, 32, 2);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(amx, 32, 2)[] = {OAQ_ROWS(1), OAQ_ROWS(2)};
