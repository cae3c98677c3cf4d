// Gather: entries of one axis, picked by index. Integers are moved, and none is changed. Nothing is computed.
//
// The tensor is (outer, size, inner bytes); every index lies in [0, size), which is checked when the step is built.
#include <cstring>
#include <utility>
#include <vector>

#include "base/sizes.h"
#include "plan/read.h"
#include "steps/steps.h"

namespace oaq {
namespace {

class Gather : public Step {
 public:
  Gather(const Place& x, const Place& y, std::int64_t outer, std::int64_t size, std::vector<std::int32_t> index)
      : x_(x),
        y_(y),
        outer_(outer),
        size_(size),
        inner_(static_cast<std::int64_t>(x.bytes()) / (outer * size)),
        index_(std::move(index)) {}

  int chunks(int threads) const override { return chunks_of(0.2 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const auto count = static_cast<std::int64_t>(index_.size());
    const Share share(outer_ * count, chunk, chunks);
    std::uint8_t* y = arena + y_.offset + share.begin * inner_;
    for (std::int64_t place = share.begin; place < share.end; ++place, y += inner_) {
      const std::int64_t entry = place / count * size_ + index_[static_cast<std::size_t>(place % count)];
      const std::uint8_t* x = arena + x_.offset + entry * inner_;
      if (inner_ == 1)
        *y = *x;
      else
        std::memcpy(y, x, static_cast<std::size_t>(inner_));
    }
  }

 private:
  Place x_, y_;
  std::int64_t outer_, size_, inner_;  // bytes of one entry
  std::vector<std::int32_t> index_;
};

}  // namespace

std::unique_ptr<Step> make_gather(const Place& x, const Place& y, std::int64_t outer, std::int64_t size,
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
  return std::make_unique<Gather>(x, y, outer, size, std::move(index));
}

std::unique_ptr<Step> parse_gather(StepRecord& record) {
  const auto [outer, size] = record.fields.ints<2>();
  return make_gather(record.input(), record.y, outer, size, record.fields.numbers<std::int32_t>());
}

}  // namespace oaq
