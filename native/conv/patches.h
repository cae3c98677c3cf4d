// The operands of a few positions one after another, in packed K order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conv/conv.h"
#include "conv/copy_windows.h"

namespace oaq {

class Patches {
 public:
  Patches(const Window& window, const Place& x, const Place& y, int groups, const Row& row, int zero_point);

  // Bytes of one position: K, filled up to a whole step.
  int bytes() const { return bytes_; }

  // Bytes from one gathered position to the next.
  std::size_t stride() const { return stride_; }

  // Whether operands already lie so in the tensor: a 1x1 window that visits every position. Where the channels are no
  // whole number of steps, kernels read on into what follows, and multiply it by weights of zero.
  bool direct() const { return direct_; }

  // Of a direct one: the operands of a position.
  const std::uint8_t* first(const std::uint8_t* x, int position, int group) const {
    return x + static_cast<std::ptrdiff_t>(position) * channels_ + group * group_channels_;
  }

  // Copies the operands of `count` positions; where the window leaves the tensor they are the zero point. What fills up
  // the last step is left as it is: its weights are zero.
  void gather(const std::uint8_t* x, int position, int count, int group, std::uint8_t* to) const;

 private:
  struct Taps {
    int begin, end;
  };
  void gather_inside(const std::uint8_t* x, int row, int column, int count, std::uint8_t* to) const;
  void gather_one(const std::uint8_t* x, int row, int column, std::uint8_t* to) const;
  void set_lines(std::uint8_t* to, int count, int begin, int end, int bytes) const;
  Taps taps_inside(int first, int axis, int size) const;

  Window window_;
  int height_, width_, channels_, group_channels_, y_width_, bytes_;
  int first_inside_, end_inside_;  // outputs of a line whose taps all lie on it
  std::size_t stride_;
  std::uint8_t zero_point_;
  CopyWindows copy_;
  bool together_;  // the taps of a line are neighbours in memory
  bool direct_;
};

}  // namespace oaq
