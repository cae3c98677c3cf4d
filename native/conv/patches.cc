// Gathers windows: copies what lies on the tensor, sets the zero point elsewhere. Nothing is computed.
#include "conv/patches.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "base/aligned.h"
#include "base/sizes.h"
#include "conv/copy_loop.h"

namespace oaq {
namespace {

struct Piece {
  static constexpr int kBytes = kCopyBytes;
  static void copy(std::uint8_t* to, const std::uint8_t* from) { std::memcpy(to, from, kBytes); }
};

bool copies_wide(const Row& row) { return (included_in(row.isa) & bit(Isa::kAvx2)) != 0; }

static_assert(Piece::kBytes <= kCopySlack && kCopySlack <= static_cast<int>(kSlack));

}  // namespace

void copy_windows(const WindowCopies& windows) { copy_all<Piece>(windows); }

bool is_direct(const Window& window) {
  const std::int64_t* padding = window.padding;
  const Planes& planes = window.planes;
  return window.taps() == 1 && window.stride[0] == 1 && window.stride[1] == 1 && planes.stride == 1 &&
         !(padding[0] || padding[1] || padding[2] || padding[3] || planes.before || planes.after);
}

int copy_bytes(const Row& row) { return copies_wide(row) ? kCopyBytesAvx2 : kCopyBytes; }

Patches::Patches(const Window& window, const Place& x, const Place& y, std::int64_t groups, const Row& row,
                 int zero_point)
    : window_(window),
      height_(x.height / window.planes.x),
      width_(x.width),
      channels_(x.channels),
      group_channels_(x.channels / groups),
      y_height_(y.height / window.planes.y),
      y_width_(y.width),
      zero_point_(static_cast<std::uint8_t>(zero_point)),
      copy_(copy_windows) {
#ifdef OAQ_X86
  if (copies_wide(row)) copy_ = copy_windows_avx2;
#endif
  const int step = row.sums.step;
  bytes_ = divided_up(static_cast<std::int64_t>(bytes_of({window.taps(), group_channels_})), step) * step;
  if (bytes_ > std::numeric_limits<std::int32_t>::max()) throw std::invalid_argument("a window of 2^31 bytes or more");
  stride_ = static_cast<std::size_t>(bytes_ + kCopySlack);
  // Neighbours in the window are neighbours in memory only if the group has all channels.
  is_contiguous_ = window.dilation[1] == 1 && group_channels_ == channels_;
  const std::int64_t left = window.padding[2], stride = window.stride[1];
  const std::int64_t room = x.width + left - (window.kernel[1] - 1) * window.dilation[1] - 1;
  first_inside_ = (left + stride - 1) / stride;
  end_inside_ = room >= 0 ? std::min(room / stride + 1, y.width) : 0;
  direct_ = is_direct(window);
}

void Patches::gather(const std::uint8_t* x, std::int64_t position, std::int64_t count, std::int64_t group,
                     std::uint8_t* to) const {
  x += group * group_channels_;
  if (window_.is_volume())
    gather_planes(x, position, count, to);
  else
    gather_image(x, position, count, to);
}

// Positions of a volume: what the window sees of each plane, one plane after the other, each at its place in K. A copy
// may write some bytes more than it should: into what the next plane writes afterwards, or behind the last.
void Patches::gather_planes(const std::uint8_t* x, std::int64_t position, std::int64_t count, std::uint8_t* to) const {
  const Planes& planes = window_.planes;
  const std::int64_t bytes = window_.kernel[0] * window_.kernel[1] * group_channels_;
  const std::int64_t of_plane = y_height_ * y_width_;
  while (count > 0) {
    const std::int64_t inside = position % of_plane, neighbours = std::min(count, of_plane - inside);
    const std::int64_t first = position / of_plane * planes.stride - planes.before;
    for (std::int64_t tap = 0; tap < planes.kernel; ++tap) {
      const std::int64_t plane = first + tap * planes.dilation;
      std::uint8_t* at = to + tap * bytes;
      if (plane >= 0 && plane < planes.x)
        gather_image(x + plane * height_ * width_ * channels_, inside, neighbours, at);
      else
        for (std::int64_t i = 0; i < neighbours; ++i, at += stride_)
          std::memset(at, zero_point_, static_cast<std::size_t>(bytes));
    }
    to += static_cast<std::size_t>(neighbours) * stride_;
    count -= neighbours;
    position += neighbours;
  }
}

// Positions of one plane.
void Patches::gather_image(const std::uint8_t* x, std::int64_t position, std::int64_t count, std::uint8_t* to) const {
  std::int64_t row = position / y_width_, column = position % y_width_;
  while (count > 0) {
    std::int64_t neighbours = 1;
    if (column >= first_inside_ && column < end_inside_) {
      neighbours = std::min(count, end_inside_ - column);
      gather_inside(x, row, column, neighbours, to);
    } else {
      gather_window(x, row, column, to);
    }
    to += static_cast<std::size_t>(neighbours) * stride_;
    count -= neighbours;
    column += neighbours;
    if (column == y_width_) column = 0, ++row;
  }
}

// Neighbouring outputs whose window lies inside every line that it meets: lines above and below the tensor are set, all
// others copied.
void Patches::gather_inside(const std::uint8_t* x, std::int64_t row, std::int64_t column, std::int64_t count,
                            std::uint8_t* to) const {
  const std::int64_t taps = window_.kernel[1], bytes = taps * group_channels_,
                     top = row * window_.stride[0] - window_.padding[0];
  const auto [begin, end] = taps_inside(top, 0, height_);
  const std::ptrdiff_t line = width_ * channels_;
  const std::ptrdiff_t first = top + begin * window_.dilation[0];
  const std::ptrdiff_t place = column * window_.stride[1] - window_.padding[2];
  const auto windows = static_cast<std::ptrdiff_t>(stride_);
  set_lines(to, count, {0, begin}, bytes);
  if (begin < end)
    copy_({.from = x + first * line + place * channels_,
           .from_window = window_.stride[1] * channels_,
           .from_line = line * window_.dilation[0],
           .from_tap = window_.dilation[1] * channels_,
           .to = to + begin * bytes,
           .to_window = windows,
           .count = count,
           .lines = end - begin,
           .taps = is_contiguous_ ? 1 : taps,
           .bytes = is_contiguous_ ? bytes : group_channels_});
  set_lines(to, count, {end, window_.kernel[0]}, bytes);
}

// Of `count` windows, the lines of some taps: the zero point.
void Patches::set_lines(std::uint8_t* to, std::int64_t count, const Taps& taps, std::int64_t bytes) const {
  const auto [begin, end] = taps;
  if (begin >= end) return;
  const auto size = static_cast<std::size_t>((end - begin) * bytes);
  for (std::int64_t i = 0; i < count; ++i, to += stride_) std::memset(to + begin * bytes, zero_point_, size);
}

// The taps of axis 0 or 1 that meet [0, size) in a window that starts at `first`; both are one past the last if none
// does.
Patches::Taps Patches::taps_inside(std::int64_t first, int axis, std::int64_t size) const {
  const std::int64_t kernel = window_.kernel[axis], dilation = window_.dilation[axis];
  const std::int64_t before = first < 0 ? (-first + dilation - 1) / dilation : 0;
  const std::int64_t reached = first < size ? (size - first + dilation - 1) / dilation : 0;
  const std::int64_t begin = std::min(before, kernel);
  return {begin, std::clamp(reached, begin, kernel)};
}

// One window that leaves the lines: of each, what lies on the tensor is copied, and the rest set.
void Patches::gather_window(const std::uint8_t* x, std::int64_t row, std::int64_t column, std::uint8_t* to) const {
  const std::int64_t top = row * window_.stride[0] - window_.padding[0];
  const std::int64_t left = column * window_.stride[1] - window_.padding[2];
  const std::int64_t bytes = window_.kernel[1] * group_channels_;
  const Taps lines = taps_inside(top, 0, height_), places = taps_inside(left, 1, width_);
  std::memset(to, zero_point_, static_cast<std::size_t>(window_.kernel[0] * bytes));
  const std::int64_t run = is_contiguous_ ? places.end - places.begin : 1;  // taps of one copy
  const auto size = static_cast<std::size_t>(run * group_channels_);
  for (std::int64_t i = lines.begin; i < lines.end; ++i) {
    const std::ptrdiff_t line = top + i * window_.dilation[0];
    for (std::int64_t j = places.begin; j < places.end; j += run) {
      const std::ptrdiff_t place = left + j * window_.dilation[1];
      std::memcpy(to + i * bytes + j * group_channels_, x + (line * width_ + place) * channels_, size);
    }
  }
}

}  // namespace oaq
