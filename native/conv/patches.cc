#include "conv/patches.h"

#include <cstring>

#include "base/aligned.h"

namespace oaq {
namespace {

constexpr int kChunk = 16;

// Copies `bytes` and up to 15 more: the next copy overwrites them.
void copy_over(std::uint8_t* to, const std::uint8_t* from, int bytes) {
  for (int at = 0; at < bytes; at += kChunk) std::memcpy(to + at, from + at, kChunk);
}

}  // namespace

Patches::Patches(const Window& window, const Place& x, const Place& y, int groups, int step, int zero_point)
    : window_(window),
      height_(x.height),
      width_(x.width),
      channels_(x.channels),
      group_channels_(x.channels / groups),
      y_width_(y.width),
      zero_point_(static_cast<std::uint8_t>(zero_point)) {
  const int k = window.taps() * group_channels_;
  bytes_ = (k + step - 1) / step * step;
  stride_ = static_cast<std::size_t>(bytes_);
  const bool every = window.stride[0] == 1 && window.stride[1] == 1;
  const int* padding = window.padding;
  direct_ = window.taps() == 1 && every && !(padding[0] || padding[1] || padding[2] || padding[3]);
}

void Patches::gather(const std::uint8_t* x, int position, int count, int group, std::uint8_t* to) const {
  x += group * group_channels_;
  int row = position / y_width_, column = position % y_width_;
  for (; count > 0; --count, to += stride_) {
    std::uint8_t* at = to;
    const int left = column * window_.stride[1] - window_.padding[2];
    for (int tap = 0; tap < window_.kernel[0]; ++tap) {
      const int line = row * window_.stride[0] - window_.padding[0] + tap * window_.dilation[0];
      if (line < 0 || line >= height_) {
        const auto bytes = static_cast<std::size_t>(window_.kernel[1] * group_channels_);
        std::memset(at, zero_point_, bytes);
        at += bytes;
      } else {
        at = gather_row(x + static_cast<std::ptrdiff_t>(line) * width_ * channels_, left, at);
      }
    }
    for (; at < to + bytes_; ++at) *at = 0;
    if (++column == y_width_) column = 0, ++row;
  }
}

std::uint8_t* Patches::gather_row(const std::uint8_t* x, int left, std::uint8_t* to) const {
  const int taps = window_.kernel[1], dilation = window_.dilation[1];
  if (dilation == 1 && group_channels_ == channels_ && left >= 0 && left + taps <= width_) {
    copy_over(to, x + static_cast<std::ptrdiff_t>(left) * channels_, taps * channels_);
    return to + taps * channels_;
  }
  for (int tap = 0; tap < taps; ++tap, to += group_channels_) {
    const int column = left + tap * dilation;
    if (column < 0 || column >= width_)
      std::memset(to, zero_point_, static_cast<std::size_t>(group_channels_));
    else
      copy_over(to, x + static_cast<std::ptrdiff_t>(column) * channels_, group_channels_);
  }
  return to;
}

}  // namespace oaq
