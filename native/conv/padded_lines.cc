// Copies lines of a tensor between runs of the zero point. Nothing is computed.
#include "conv/padded_lines.h"

#include <cstring>

namespace oaq {

PaddedLines::PaddedLines(const Window& window, const Place& x, int zero_point)
    : height_(x.height),
      stride_(window.stride[0]),
      reach_((window.kernel[0] - 1) * window.dilation[0] + 1),
      top_(window.padding[0]),
      bottom_(window.padding[1]),
      inside_(x.width * x.channels),
      left_(window.padding[2] * x.channels),
      right_(window.padding[3] * x.channels),
      zero_point_(static_cast<std::uint8_t>(zero_point)) {}

const std::uint8_t* PaddedLines::lines(const std::uint8_t* x, std::int64_t row, std::int64_t outputs,
                                       std::uint8_t* to) const {
  if (direct()) return x + row * step_bytes();
  const auto set = [this](std::uint8_t* at, std::ptrdiff_t size) {
    std::memset(at, zero_point_, static_cast<std::size_t>(size));
  };
  std::uint8_t* at = to;
  const std::int64_t first = row * stride_ - top_;
  for (std::int64_t line = first; line < first + (outputs - 1) * stride_ + reach_; ++line, at += line_bytes()) {
    if (line < 0 || line >= height_) {
      set(at, line_bytes());
      continue;
    }
    set(at, left_);
    std::memcpy(at + left_, x + line * inside_, static_cast<std::size_t>(inside_));
    set(at + left_ + inside_, right_);
  }
  return to;
}

}  // namespace oaq
