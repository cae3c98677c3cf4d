#include "conv/patches.h"

#include <algorithm>
#include <cstring>

#include "base/aligned.h"

namespace oaq {
namespace {

constexpr int kChunk = 16;
static_assert(kChunk <= kCopySlack && kCopySlack <= static_cast<int>(kSlack));

}  // namespace

// Without the call that a copy of unknown size is. What is written too much lies where the next line goes, or between
// two positions.
void copy_lines(const LineCopies& given) {
  const LineCopies lines = given;  // a copy, so that stores are known not to change it
  const std::uint8_t* from = lines.from;
  std::uint8_t* to = lines.to;
  for (int i = 0; i < lines.count; ++i, from += lines.from_stride, to += lines.to_stride)
    for (int at = 0; at < lines.bytes; at += kChunk) std::memcpy(to + at, from + at, kChunk);
}

Patches::Patches(const Window& window, const Place& x, const Place& y, int groups, const Row& row, int zero_point)
    : window_(window),
      height_(x.height),
      width_(x.width),
      channels_(x.channels),
      group_channels_(x.channels / groups),
      y_width_(y.width),
      zero_point_(static_cast<std::uint8_t>(zero_point)),
      copy_(copy_lines) {
#ifdef OAQ_X86
  if (row.isa != Isa::kScalar) copy_ = copy_lines_avx2;  // every other one has AVX2
#endif
  const int step = row.sums.step;
  const int k = window.taps() * group_channels_;
  bytes_ = (k + step - 1) / step * step;
  stride_ = static_cast<std::size_t>(bytes_ + kCopySlack);
  const bool every = window.stride[0] == 1 && window.stride[1] == 1;
  const int* padding = window.padding;
  // Neighbours in the window are neighbours in memory only if the group has all channels.
  const bool together = window.dilation[1] == 1 && group_channels_ == channels_;
  const int left = window.padding[2], stride = window.stride[1], room = x.width + left - window.kernel[1];
  first_inside_ = together ? (left + stride - 1) / stride : y.width;
  end_inside_ = together && room >= 0 ? std::min(room / stride + 1, y.width) : 0;
  direct_ = window.taps() == 1 && every && !(padding[0] || padding[1] || padding[2] || padding[3]);
}

void Patches::gather(const std::uint8_t* x, int position, int count, int group, std::uint8_t* to) const {
  x += group * group_channels_;
  int row = position / y_width_, column = position % y_width_;
  while (count > 0) {
    int now = 1;
    if (column >= first_inside_ && column < end_inside_) {
      now = std::min(count, end_inside_ - column);
      gather_inside(x, row, column, now, to);
    } else {
      gather_one(x, row, column, to);
    }
    to += static_cast<std::size_t>(now) * stride_;
    count -= now;
    column += now;
    if (column == y_width_) column = 0, ++row;
  }
}

// Neighbouring outputs whose window lies inside the line: each line of it is one copy.
void Patches::gather_inside(const std::uint8_t* x, int row, int column, int count, std::uint8_t* to) const {
  const int line_bytes = window_.kernel[1] * channels_;
  const std::ptrdiff_t x_step = static_cast<std::ptrdiff_t>(window_.stride[1]) * channels_;
  const int first = column * window_.stride[1] - window_.padding[2];
  for (int tap = 0; tap < window_.kernel[0]; ++tap, to += line_bytes) {
    const int line = row * window_.stride[0] - window_.padding[0] + tap * window_.dilation[0];
    std::uint8_t* at = to;
    if (line < 0 || line >= height_) {
      for (int i = 0; i < count; ++i, at += stride_) std::memset(at, zero_point_, static_cast<std::size_t>(line_bytes));
      continue;
    }
    const std::uint8_t* from = x + (static_cast<std::ptrdiff_t>(line) * width_ + first) * channels_;
    copy_({from, x_step, at, static_cast<std::ptrdiff_t>(stride_), count, line_bytes});
  }
}

void Patches::gather_one(const std::uint8_t* x, int row, int column, std::uint8_t* to) const {
  const auto bytes = static_cast<std::size_t>(group_channels_);
  for (int i = 0; i < window_.kernel[0]; ++i) {
    const int line = row * window_.stride[0] - window_.padding[0] + i * window_.dilation[0];
    for (int j = 0; j < window_.kernel[1]; ++j, to += bytes) {
      const int place = column * window_.stride[1] - window_.padding[2] + j * window_.dilation[1];
      if (line < 0 || line >= height_ || place < 0 || place >= width_)
        std::memset(to, zero_point_, bytes);
      else
        std::memcpy(to, x + (static_cast<std::ptrdiff_t>(line) * width_ + place) * channels_, bytes);
    }
  }
}

}  // namespace oaq
