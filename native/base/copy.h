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

// Two pieces that may overlap, of each of `count` pixels: kPiece <= bytes <= 2 * kPiece.
template <int kPiece>
inline void copy_pairs(std::uint8_t* to, std::int64_t to_step, const std::uint8_t* from, std::int64_t from_step,
                       std::int64_t bytes, std::int64_t count) {
  for (const std::int64_t last = bytes - kPiece; count > 0; --count, to += to_step, from += from_step) {
    std::memcpy(to, from, kPiece);
    std::memcpy(to + last, from + last, kPiece);
  }
}

// `bytes` > 0 of each of `count` pixels, so many bytes apart from one another.
inline void copy_pixels(std::uint8_t* to, std::int64_t to_step, const std::uint8_t* from, std::int64_t from_step,
                        std::int64_t bytes, std::int64_t count) {
  constexpr std::int64_t kShort = 256;  // of more, the C library's copy is quicker
  if (bytes == to_step && bytes == from_step)
    std::memcpy(to, from, static_cast<std::size_t>(bytes * count));
  else if (bytes >= kShort)
    for (; count > 0; --count, to += to_step, from += from_step) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  else if (bytes > 32)
    for (; count > 0; --count, to += to_step, from += from_step) copy_pieces<16>(to, from, static_cast<int>(bytes));
  else if (bytes >= 16)
    copy_pairs<16>(to, to_step, from, from_step, bytes, count);
  else if (bytes >= 8)
    copy_pairs<8>(to, to_step, from, from_step, bytes, count);
  else if (bytes >= 4)
    copy_pairs<4>(to, to_step, from, from_step, bytes, count);
  else if (bytes >= 2)
    copy_pairs<2>(to, to_step, from, from_step, bytes, count);
  else
    copy_pairs<1>(to, to_step, from, from_step, bytes, count);
}

}  // namespace oaq
