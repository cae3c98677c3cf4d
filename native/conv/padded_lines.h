// Lines of a tensor with the zero point around them: every window lies in them as it is, and no position needs a copy
// of its operands.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conv/conv.h"

namespace oaq {

class PaddedLines {
 public:
  PaddedLines(const Window& window, const Place& x, int zero_point);

  // The tensor's own lines serve: nothing leaves them.
  bool direct() const { return !(top_ || bottom_ || left_ || right_); }

  std::ptrdiff_t line_bytes() const { return left_ + inside_ + right_; }

  // Bytes from what one line of outputs sees to what the next one does.
  std::ptrdiff_t step_bytes() const { return stride_ * line_bytes(); }

  // Bytes of all that so many lines of outputs see.
  std::ptrdiff_t bytes(std::int64_t outputs) const { return ((outputs - 1) * stride_ + reach_) * line_bytes(); }

  // What `outputs` lines of outputs from `row` on see: in the tensor, if that is direct, else copied to `to`.
  const std::uint8_t* lines(const std::uint8_t* x, std::int64_t row, std::int64_t outputs, std::uint8_t* to) const;

 private:
  std::int64_t height_, stride_, reach_, top_, bottom_;
  std::ptrdiff_t inside_, left_, right_;  // bytes of a line
  std::uint8_t zero_point_;
};

}  // namespace oaq
