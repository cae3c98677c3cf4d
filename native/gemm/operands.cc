// Chooses between the three ways of operands.h, and says where a block of positions finds its pieces. Offsets only.
#include "gemm/operands.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/aligned.h"
#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::int64_t kBlockBytes = 64 * 1024;        // of operands, which stay in the second cache
constexpr std::int64_t kLargeBlockBytes = 256 * 1024;  // where weights are many, so that they are read less often
constexpr std::size_t kFewWeights = 128 * 1024;
constexpr std::int64_t kMostGroups = 64;                                      // of rows, in a block of positions
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
      4 * y.width < 3 * tile_m * row_groups)
    return false;
  const PaddedLines lines(window, x, 0);
  return lines.line_bytes() <= kFarthest && lines.bytes(1) <= (lines.direct() ? kFarthest : kMostCopied);
}

Operands::Operands(const ConvSpec& spec)
    : patches_(spec.window, spec.x, spec.y, spec.groups, *spec.row, spec.x_zero_point),
      height_(spec.y.height),
      width_(spec.y.width),
      step_(spec.row->sums.step),
      tile_m_(spec.row->tile_m),
      channels_(spec.x.channels),
      stride_(spec.window.stride[1]),
      line_bytes_(spec.window.kernel[1] * spec.x.channels),
      step_weights_(std::int64_t{spec.row->tile_n} * spec.row->sums.step),
      regions_{whole_of(spec.window, spec.y)} {
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
  if (lines_->direct()) return;
  scratch_bytes_ = static_cast<std::size_t>(lines_->bytes(block_units_)) + kSlack;
  const bool pads_with_zeros = spec.x_zero_point == spec.row->x.shift;
  if (pads_with_zeros && spec.packed.size() <= kFarthest)
    regions_ = regions_of(spec.window, spec.x, spec.y, spec.row->tile_m);
}

void Operands::add_pieces(const Run& run, const Region& region, After after, std::int64_t& left_out,
                          std::vector<Piece>& to) const {
  const Seen seen = lines_ ? region.seen : Seen{0, 1, 0, 1};
  const std::int64_t line_bytes = lines_ ? line_bytes_ : bytes();
  const std::int64_t begins = lines_ ? seen.column * channels_ / step_ * step_ : 0;  // whole steps of a line
  const std::int64_t ends = lines_ ? divided_up(seen.column_end * channels_, step_) * step_ : line_bytes;
  const std::size_t pieces = to.size();
  const std::int64_t end = run.first + run.steps * step_;
  std::int64_t at = run.first;
  for (std::int64_t line = seen.line; line < seen.line_end; ++line) {
    const std::int64_t from = std::max(run.first, line * line_bytes + begins);
    const std::int64_t to_end = std::min(end, line * line_bytes + ends);
    if (from >= to_end) continue;
    left_out += (from - at) / step_ * step_weights_;
    to.push_back({static_cast<std::int32_t>(line * (line_step_ - line_bytes) + from),
                  static_cast<std::int32_t>((to_end - from) / step_), After::kGoOn,
                  static_cast<std::int32_t>(left_out)});
    left_out = 0;
    at = to_end;
  }
  left_out += (end - at) / step_ * step_weights_;
  if (to.size() > pieces) to.back().after = after;
}

Block Operands::part(const Block& block, std::int64_t unit, const Region& region) const {
  if (!lines_) return block;
  Region inside = region;
  inside.line = std::max(unit, region.line);
  inside.lines = std::min(unit + block.lines, region.line + region.lines) - inside.line;
  if (inside.lines < 1) return {};
  Block part = block;
  part.x += (inside.line - unit) * block.line + region.column * block.stride;
  part.lines = inside.lines;
  part.columns = region.columns;
  part.first = (inside.line - unit) * width_ + region.column;
  part.below = width_;
  if (inside.goes_down(tile_m_)) {
    std::swap(part.stride, part.line);
    std::swap(part.lines, part.columns);
    std::swap(part.next, part.below);
  }
  return part;
}

Block Operands::block(const std::uint8_t* x, std::int64_t unit, std::int64_t count, std::int64_t group,
                      std::uint8_t* scratch) const {
  if (lines_)
    return {.x = lines_->lines(x, unit, count, scratch),
            .stride = stride_ * channels_,
            .line = lines_->step_bytes(),
            .lines = count,
            .columns = width_};
  const auto positions = [&](const std::uint8_t* from, std::int64_t stride) {
    return Block{.x = from, .stride = static_cast<std::ptrdiff_t>(stride), .line = 0, .lines = 1, .columns = count};
  };
  if (patches_.direct()) return positions(patches_.first(x, unit, group), channels_);
  patches_.gather(x, unit, count, group, scratch);
  return positions(scratch, static_cast<std::int64_t>(patches_.stride()));
}

}  // namespace oaq
