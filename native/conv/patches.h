// The operands of a few positions one after another, in packed K order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conv/conv.h"
#include "conv/copy_windows.h"

namespace oaq {

// Operands lie in the tensor as kernels want them: a 1x1 window that visits every position.
bool is_direct(const Window& window);

// Bytes that one copy of operands moves for a row.
int copy_bytes(const Row& row);

class Patches {
 public:
  Patches(const Window& window, const Place& x, const Place& y, std::int64_t groups, const Row& row, int zero_point);

  // Bytes of one position: K, filled up to a whole step.
  std::int64_t bytes() const { return bytes_; }

  // Bytes from one gathered position to the next.
  std::size_t stride() const { return stride_; }

  // Whether operands already lie so in the tensor: a 1x1 window that visits every position. Where the channels are no
  // whole number of steps, kernels read on into what follows, and multiply it by weights of zero.
  bool direct() const { return direct_; }

  // Of a direct one: the operands of a position.
  const std::uint8_t* first(const std::uint8_t* x, std::int64_t position, std::int64_t group) const {
    return x + position * channels_ + group * group_channels_;
  }

  // Copies the operands of `count` positions; where the window leaves the tensor they are the zero point. What fills up
  // the last step is left as it is: its weights are zero.
  void gather(const std::uint8_t* x, std::int64_t position, std::int64_t count, std::int64_t group,
              std::uint8_t* to) const;

 private:
  struct Taps {
    std::int64_t begin, end;
  };
  void gather_planes(const std::uint8_t* x, std::int64_t position, std::int64_t count, std::uint8_t* to) const;
  void gather_image(const std::uint8_t* x, std::int64_t position, std::int64_t count, std::uint8_t* to) const;
  void gather_inside(const std::uint8_t* x, std::int64_t row, std::int64_t column, std::int64_t count,
                     std::uint8_t* to) const;
  void gather_window(const std::uint8_t* x, std::int64_t row, std::int64_t column, std::uint8_t* to) const;
  void set_lines(std::uint8_t* to, std::int64_t count, const Taps& taps, std::int64_t bytes) const;
  Taps taps_inside(std::int64_t first, int axis, std::int64_t size) const;

  Window window_;
  std::int64_t height_, width_, channels_, group_channels_, y_height_, y_width_, bytes_;  // heights: of one plane
  std::int64_t first_inside_, end_inside_;  // outputs of a line whose taps all lie on it
  std::size_t stride_;
  std::uint8_t zero_point_;
  CopyWindows copy_;
  bool is_contiguous_;  // the taps of a line are neighbours in memory
  bool direct_;
};

}  // namespace oaq
