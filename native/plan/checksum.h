// CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), as zlib and PNG have it: finds damage, not malice.
#pragma once

#include <cstdint>
#include <span>

namespace oaq {

std::uint32_t crc32(std::span<const std::uint8_t> bytes);

}  // namespace oaq
