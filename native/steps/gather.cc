// Gather: entries of one axis, picked by index. Integers are moved, and none is changed. Nothing is computed.
//
// The tensor is (outer, size, inner bytes); every index lies in [0, size), which is checked when the step is built.
// Short entries that lie near each other are shuffled, several times their number where they are few.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
#include "steps/steps.h"

namespace oaq {
namespace {

// How far apart neighbours of the index lie, where all are as far; else 0.
std::int64_t pace(const std::vector<std::int32_t>& index) {
  const std::int64_t first = index.size() > 1 ? index[1] - index[0] : 0;
  for (std::size_t i = 1; i < index.size(); ++i)
    if (index[i] - index[i - 1] != first) return 0;
  return first;
}

// The number of steps is known, so that compilers make vector code of it.
template <std::int64_t kPace>
void pick_every(const std::uint8_t* __restrict x, std::int64_t count, std::uint8_t* __restrict y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[kPace * i];
}

class Gather : public Step {
 public:
  Gather(const Row& row, const Place& x, const Place& y, std::int64_t outer, std::int64_t size,
         std::vector<std::int32_t> index)
      : loops_(step_loops(row.isa)),
        x_(x),
        y_(y),
        outer_(outer),
        size_(size),
        inner_(static_cast<std::int64_t>(x.bytes()) / (outer * size)),
        pace_(pace(index)),
        index_(std::move(index)) {
    if (row.isa == Isa::kScalar || inner_ >= kSixteen || outer_ < 2) return;
    const auto picked = static_cast<std::int64_t>(index_.size()) * inner_;
    if (picked > kMostShuffled || size_ * inner_ > kMostShuffled) return;
    one_ = Shuffle(order_of(1));
    const std::size_t pieces = one_.ends.size();
    if (one_.windows.size() > kMostWindows * pieces) return;
    shuffled_ = std::max<std::int64_t>(kSixteen / picked, 1);
    if (shuffled_ > 1) several_ = Shuffle(order_of(shuffled_));
  }

  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    if (shuffled_) return shuffle(arena, Share(outer_, chunk, chunks));
    const auto count = static_cast<std::int64_t>(index_.size());
    const Share share(outer_ * count, chunk, chunks);
    std::uint8_t* y = arena + y_.offset + share.begin * inner_;
    std::int64_t outer = share.begin / count, first = share.begin % count;
    for (std::int64_t left = share.end - share.begin; left > 0; ++outer, first = 0) {
      const std::int64_t picked = std::min(count - first, left);
      pick(arena + x_.offset + outer * size_ * inner_, first, picked, y);
      y += picked * inner_;
      left -= picked;
    }
  }

 private:
  static constexpr std::int64_t kSixteen = 16, kMostShuffled = 4096;
  static constexpr std::size_t kMostWindows = 8;  // of 16 bytes, on the average

  // Input bytes of the output's, of so many cuts of the tensor.
  std::vector<std::int32_t> order_of(std::int64_t cuts) const {
    std::vector<std::int32_t> order;
    for (std::int64_t cut = 0; cut < cuts; ++cut)
      for (const std::int32_t entry : index_)
        for (std::int64_t byte = 0; byte < inner_; ++byte)
          order.push_back(static_cast<std::int32_t>((cut * size_ + entry) * inner_ + byte));
    return order;
  }

  void shuffle(std::uint8_t* arena, const Share& cuts) const {
    const std::int64_t x_step = size_ * inner_, y_step = static_cast<std::int64_t>(index_.size()) * inner_;
    const std::uint8_t* x = arena + x_.offset + cuts.begin * x_step;
    std::uint8_t* y = arena + y_.offset + cuts.begin * y_step;
    const std::int64_t count = cuts.end - cuts.begin, groups = shuffled_ > 1 ? count / shuffled_ : 0;
    const std::int64_t grouped = groups * shuffled_;
    if (groups) loops_.shuffle({x, shuffled_ * x_step, groups, &several_, y});
    loops_.shuffle({x + grouped * x_step, x_step, count - grouped, &one_, y + grouped * y_step});
  }

  // `count` entries of one cut of the tensor, from `first` of the index on.
  void pick(const std::uint8_t* x, std::int64_t first, std::int64_t count, std::uint8_t* y) const {
    const std::int32_t* index = index_.data() + first;
    if (inner_ == 1 && pace_ == 2) return pick_every<2>(x + *index, count, y);
    if (inner_ == 1 && pace_ == 4) return pick_every<4>(x + *index, count, y);
    if (inner_ == 1) {
      for (std::int64_t i = 0; i < count; ++i) y[i] = x[index[i]];
      return;
    }
    const auto bytes = static_cast<std::size_t>(inner_);
    for (std::int64_t i = 0; i < count; ++i, y += inner_) std::memcpy(y, x + index[i] * inner_, bytes);
  }

  const StepLoops& loops_;
  Place x_, y_;
  std::int64_t outer_, size_, inner_;  // bytes of one entry
  std::int64_t pace_;
  std::vector<std::int32_t> index_;
  std::int64_t shuffled_ = 0;  // cuts of the tensor together; 0: entries are copied one by one
  Shuffle one_, several_;
};

}  // namespace

std::unique_ptr<Step> make_gather(const Row& row, const Place& x, const Place& y, std::int64_t outer, std::int64_t size,
                                  std::vector<std::int32_t> index) {
  if (outer < 1 || size < 1 || index.empty()) refuse("an axis has entries, and some are picked");
  const auto bytes = static_cast<std::int64_t>(x.bytes());
  if (size > bytes / outer || bytes % (outer * size)) refuse("the axis does not cut the input into equal entries");
  const std::int64_t inner = bytes / (outer * size);
  if (bytes_of({outer, static_cast<std::int64_t>(index.size()), inner}) != y.bytes())
    refuse("the entries do not give the output");
  for (const std::int32_t entry : index)
    if (entry < 0 || entry >= size)
      refuse("entry " + std::to_string(entry) + " of " + std::to_string(size) + " is picked");
  return std::make_unique<Gather>(row, x, y, outer, size, std::move(index));
}

std::unique_ptr<Step> parse_gather(StepRecord& record) {
  const auto [outer, size] = record.fields.ints<2>();
  return make_gather(record.row, record.input(), record.y, outer, size, record.fields.numbers<std::int32_t>());
}

}  // namespace oaq
