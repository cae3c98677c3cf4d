// Chooses between the three ways of operands.h, and says where a block of positions finds its pieces. Offsets only.
#include "gemm/operands.h"

#include <algorithm>
#include <limits>

#include "base/aligned.h"
#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::int64_t kBlockBytes = 64 * 1024;        // of operands, which stay in the second cache
constexpr std::int64_t kLargeBlockBytes = 256 * 1024;  // where weights are many, so that they are read less often
constexpr std::size_t kFewWeights = 128 * 1024;
constexpr std::int64_t kMostGroups = 16;                                      // of rows, in a gathered block
constexpr std::int64_t kFarthest = std::numeric_limits<std::int32_t>::max();  // bytes to a piece
constexpr std::int64_t kMostCopied = 64 << 20;  // bytes of lines copied at once; beyond, gathering takes less memory

}  // namespace

// Windows are read where they are if what a line of one sees lies together and makes whole steps, lines of outputs
// divide into groups of rows that are tall enough, no run has to be one piece, and none is too far or too large to
// copy.
bool reads_lines(const Row& row, const Window& window, const Place& x, const Place& y, std::int64_t groups) {
  const bool is_contiguous = groups == 1 && window.dilation[1] == 1 && !is_direct(window) && !window.is_volume();
  const bool keeps_runs = row.sums.max_run > 1;  // each is one piece, which would end with a line
  const std::int64_t tile_m = row.tile_m, row_groups = divided_up(y.width, tile_m);
  if (!is_contiguous || keeps_runs || window.kernel[1] * x.channels % row.sums.step != 0 ||
      4 * (y.width / row_groups) < 3 * tile_m)
    return false;
  const PaddedLines lines(window, x, 0);
  return lines.line_bytes() <= kFarthest && lines.bytes(1) <= (lines.direct() ? kFarthest : kMostCopied);
}

Operands::Operands(const ConvSpec& spec)
    : patches_(spec.window, spec.x, spec.y, spec.groups, *spec.row, spec.x_zero_point),
      height_(spec.y.height),
      width_(spec.y.width),
      step_(spec.row->sums.step),
      channels_(spec.x.channels),
      stride_(spec.window.stride[1]),
      line_bytes_(spec.window.kernel[1] * spec.x.channels) {
  const std::int64_t bytes = spec.packed.size() > kFewWeights ? kLargeBlockBytes : kBlockBytes;
  block_units_ =
      std::clamp<std::int64_t>(bytes / patches_.bytes() / spec.row->tile_m, 1, kMostGroups) * spec.row->tile_m;
  if (patches_.direct()) return;
  if (reads_lines(*spec.row, spec.window, spec.x, spec.y, spec.groups))
    lines_.emplace(spec.window, spec.x, spec.x_zero_point);
  if (!lines_) {
    scratch_bytes_ = bytes_of({block_units_, static_cast<std::int64_t>(patches_.stride())}) + kSlack;
    return;
  }
  line_step_ = lines_->line_bytes() * spec.window.dilation[0];
  block_units_ = 1;
  while (block_units_ < height_ && lines_->bytes(block_units_ + 1) <= bytes) ++block_units_;
  if (!lines_->direct()) scratch_bytes_ = static_cast<std::size_t>(lines_->bytes(block_units_)) + kSlack;
}

void Operands::add_pieces(std::int64_t first, std::int64_t steps, After after, std::vector<Piece>& to) const {
  for (std::int64_t remaining = steps; remaining > 0;) {
    const std::int64_t line = lines_ ? first / line_bytes_ : 0;
    const std::int64_t most = lines_ ? ((line + 1) * line_bytes_ - first) / step_ : remaining;
    const std::int64_t piece = std::min(remaining, most);
    remaining -= piece;
    const std::int64_t before = line * (line_step_ - line_bytes_);
    to.push_back({static_cast<std::int32_t>(before + first), static_cast<std::int32_t>(piece),
                  remaining > 0 ? After::kGoOn : after});
    first += piece * step_;
  }
}

Block Operands::block(const std::uint8_t* x, std::int64_t unit, std::int64_t count, std::int64_t group,
                      std::uint8_t* scratch) const {
  if (lines_) return {lines_->lines(x, unit, count, scratch), stride_ * channels_, lines_->step_bytes(), count, width_};
  if (patches_.direct()) return {patches_.first(x, unit, group), channels_, 0, 1, count};
  patches_.gather(x, unit, count, group, scratch);
  return {scratch, static_cast<std::ptrdiff_t>(patches_.stride()), 0, 1, count};
}

}  // namespace oaq
