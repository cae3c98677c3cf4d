// Copies of a few bytes, without the call that a copy of unknown size is.
#pragma once

#include <cstdint>
#include <cstring>

namespace oaq {

// In pieces that may overlap.
template <int kPiece>
inline void copy_pieces(std::uint8_t* to, const std::uint8_t* from, int bytes) {
  for (int at = 0; at + kPiece < bytes; at += kPiece) std::memcpy(to + at, from + at, kPiece);
  std::memcpy(to + bytes - kPiece, from + bytes - kPiece, kPiece);
}

// Exactly `bytes`, > 0.
inline void copy_short(std::uint8_t* to, const std::uint8_t* from, int bytes) {
  if (bytes >= 16)
    copy_pieces<16>(to, from, bytes);
  else if (bytes >= 4)
    copy_pieces<4>(to, from, bytes);
  else
    copy_pieces<1>(to, from, bytes);
}

}  // namespace oaq
