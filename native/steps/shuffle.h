// A fixed order of bytes, repeated: output byte i of every group is input byte order[i] of it. As pshufb computes it:
// 16 output bytes are the union of bytes chosen from a few windows of 16 input bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace oaq {

// 16 input bytes from `from` on, and which of them becomes each output byte; 128 where none does.
struct ShuffleWindow {
  std::int64_t from;
  std::array<std::uint8_t, 16> chosen;
};

struct Shuffle {
  std::vector<std::int32_t> order;
  std::vector<ShuffleWindow> windows;  // those of output bytes 0 to 15, then of 16 to 31, ...
  std::vector<std::size_t> ends;       // behind the windows of each 16

  Shuffle() = default;
  explicit Shuffle(std::vector<std::int32_t> order_of_bytes);
};

// Groups of `x_step` bytes in, of order.size() bytes out, one after another.
struct ShuffleCall {
  const std::uint8_t* x;
  std::int64_t x_step;
  std::int64_t groups;
  const Shuffle* shuffle;
  std::uint8_t* y;
};

}  // namespace oaq
