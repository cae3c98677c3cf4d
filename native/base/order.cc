// The orders of base/order.h as formulas: which output or channel lies at each place of a register. Integers only.
#include "base/order.h"

#include "base/table.h"

namespace oaq {
namespace {

bool is_plain(const Row& row) { return row.leaving.order == LaneOrder::kPlain; }
bool is_narrow(const Row& row) { return row.sums.bits < 32; }

}  // namespace

// kUnpacked128: packing two registers into one puts four of the first and four of the second into every 128 bits.
int word_output(const Row& row, int place, bool is_full) {
  if (is_plain(row)) return place;
  const int half = is_full ? row.tile_n / 2 : 0;
  return place / 8 * 4 + place % 4 + place / 4 % 2 * half;
}

int word_places(const Row& row) { return is_plain(row) ? row.tile_n : row.tile_n * 2 / row.parts; }

// kUnpacked128: a tile's channels fill four registers of s32. Channel 16 h + 4 j + i lies in lane 4 h + i of the j-th;
// where sums had 16 bits, even and odd lanes went to registers of their own, and it is channel 16 h + 8 (j / 2) + 2 i +
// j % 2.
int sum_channel(const Row& row, int place) {
  if (is_plain(row)) return place;
  const int lanes = row.tile_n / 4, j = place / lanes, lane = place % lanes;
  return 16 * (lane / 4) + (is_narrow(row) ? 8 * (j / 2) + 2 * (lane % 4) + j % 2 : 4 * j + lane % 4);
}

// kUnpacked128: registers of s16 sums, and of s32 sums packed to words, hold channel 16 h + 8 r + i in lane 8 h + i of
// the r-th.
int word_channel(const Row& row, int place) {
  if (is_plain(row)) return place;
  const int half = place * 2 / row.tile_n, lane = place % (row.tile_n / 2);
  return lane / 8 * 16 + half * 8 + lane % 8;
}

// kUnpacked128: interleaving bytes leaves eight channels of a 128-bit part in each of two registers where pairs of
// bytes are multiplied, four in each of four where wider operands are.
int weight_channel(const Row& row, int place) {
  if (is_plain(row)) return place;
  const int neighbours = is_narrow(row) ? 8 : 4, parts = row.tile_n / 16;
  const int in_register = neighbours * parts, lane = place % in_register;
  return 16 * (lane / neighbours) + neighbours * (place / in_register) + lane % neighbours;
}

}  // namespace oaq
