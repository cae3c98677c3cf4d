#include "gemm/operands.h"

#include <algorithm>
#include <limits>

#include "base/aligned.h"

namespace oaq {
namespace {

constexpr int kBlockBytes = 64 * 1024;        // of operands, which stay in the second cache
constexpr int kLargeBlockBytes = 256 * 1024;  // where weights are many, so that they are read less often
constexpr std::size_t kFewWeights = 128 * 1024;
constexpr int kMostGroups = 16;                                                 // of rows, in a gathered block
constexpr std::ptrdiff_t kFarthest = std::numeric_limits<std::int32_t>::max();  // bytes to a piece

// Whether windows can be read where they are: what a line of one sees lies together and makes whole steps, and lines of
// outputs divide into groups of rows that are tall enough.
bool allows_lines(const ConvSpec& spec) {
  const Window& window = spec.window;
  const bool together = spec.groups == 1 && window.dilation[1] == 1;
  const int tile_m = spec.row->tile_m, groups = (spec.y.width + tile_m - 1) / tile_m;
  return together && window.kernel[1] * spec.x.channels % spec.row->sums.step == 0 &&
         4 * (spec.y.width / groups) >= 3 * tile_m;
}

}  // namespace

Operands::Operands(const ConvSpec& spec)
    : patches_(spec.window, spec.x, spec.y, spec.groups, *spec.row, spec.x_zero_point),
      height_(spec.y.height),
      width_(spec.y.width),
      step_(spec.row->sums.step),
      channels_(spec.x.channels),
      stride_(spec.window.stride[1]),
      line_bytes_(spec.window.kernel[1] * spec.x.channels) {
  const int bytes = spec.packed.size() > kFewWeights ? kLargeBlockBytes : kBlockBytes;
  block_units_ = std::clamp(bytes / patches_.bytes() / spec.row->tile_m, 1, kMostGroups) * spec.row->tile_m;
  if (patches_.direct()) return;
  if (allows_lines(spec)) lines_.emplace(spec.window, spec.x, spec.x_zero_point);
  if (lines_ && lines_->bytes(1) > kFarthest) lines_.reset();
  if (!lines_) {
    scratch_bytes_ = static_cast<std::size_t>(block_units_) * patches_.stride() + kSlack;
    return;
  }
  line_step_ = lines_->line_bytes() * spec.window.dilation[0];
  block_units_ = 1;
  while (block_units_ < height_ && lines_->bytes(block_units_ + 1) <= bytes) ++block_units_;
  if (!lines_->direct()) scratch_bytes_ = static_cast<std::size_t>(lines_->bytes(block_units_)) + kSlack;
}

void Operands::add_pieces(int first, int steps, After after, std::vector<Piece>& to) const {
  for (int left = steps; left > 0;) {
    const int line = lines_ ? first / line_bytes_ : 0;
    const int most = lines_ ? ((line + 1) * line_bytes_ - first) / step_ : left;
    const int now = std::min(left, most);
    left -= now;
    const auto before = static_cast<std::int32_t>(line * (line_step_ - line_bytes_));
    to.push_back({before + first, now, left > 0 ? After::kGoOn : after});
    first += now * step_;
  }
}

Block Operands::block(const std::uint8_t* x, int unit, int count, int group, std::uint8_t* scratch) const {
  if (lines_)
    return {lines_->lines(x, unit, count, scratch), std::ptrdiff_t{stride_} * channels_, lines_->step_bytes(), count,
            width_};
  if (patches_.direct()) return {patches_.first(x, unit, group), channels_, 0, 1, count};
  patches_.gather(x, unit, count, group, scratch);
  return {scratch, static_cast<std::ptrdiff_t>(patches_.stride()), 0, 1, count};
}

}  // namespace oaq
