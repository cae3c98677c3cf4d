// CRC-32 by tables, eight bytes at a time, in u32. Exact by definition: shifts and exclusive ors.
#include "plan/checksum.h"

#include <array>
#include <cstring>

namespace oaq {
namespace {

constexpr std::uint32_t kPolynomial = 0xEDB88320U;
using Table = std::array<std::uint32_t, 256>;

// Table k advances a byte over k zero bytes, so that eight bytes are taken at once.
constexpr std::array<Table, 8> tables() {
  std::array<Table, 8> result{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ kPolynomial : value >> 1;
    result[0][byte] = value;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = result[k - 1][byte];
      result[k][byte] = before >> 8 ^ result[0][before & 0xFF];
    }
  return result;
}

constexpr std::array<Table, 8> kTables = tables();

}  // namespace

std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
  std::uint32_t value = 0xFFFFFFFFU;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    const std::uint8_t* b = bytes.data() + at;
    value ^= std::uint32_t{b[0]} | std::uint32_t{b[1]} << 8 | std::uint32_t{b[2]} << 16 | std::uint32_t{b[3]} << 24;
    value = kTables[7][value & 0xFF] ^ kTables[6][value >> 8 & 0xFF] ^ kTables[5][value >> 16 & 0xFF] ^
            kTables[4][value >> 24] ^ kTables[3][b[4]] ^ kTables[2][b[5]] ^ kTables[1][b[6]] ^ kTables[0][b[7]];
  }
  for (; at < bytes.size(); ++at) value = value >> 8 ^ kTables[0][(value ^ bytes[at]) & 0xFF];
  return ~value;
}

}  // namespace oaq
