// ChannelLookup: a table of 256 for each channel. Several positions of few channels are one of as many channels as a
// vector has bytes, their tables repeated.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/sizes.h"
#include "plan/read.h"
#include "steps/loops.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr std::int64_t kEntries = 256, kLeast = 16;

class ChannelLookup : public Step {
 public:
  ChannelLookup(const Row& row, const Place& x, const Place& y, const std::vector<std::uint8_t>& tables)
      : loops_(step_loops(row.isa)), x_(x), y_(y), repeats_(divided_up(kLeast, std::min(kLeast, y.channels))) {
    for (std::int64_t i = 0; i < repeats_; ++i) tables_.insert(tables_.end(), tables.begin(), tables.end());
    differences_.resize(tables_.size());
    for (std::size_t at = 0; at < tables_.size(); at += kEntries) as_differences(&tables_[at], &differences_[at]);
  }

  Isas isas() const override { return included_in(loops_.isa); }
  int chunks(int threads) const override { return chunks_of(0.5 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    const std::int64_t rows = (share.end - share.begin) / repeats_;
    look_up(arena, share.begin, rows, repeats_);
    const std::int64_t done = share.begin + rows * repeats_;
    look_up(arena, done, share.end - done, 1);
  }

 private:
  // `rows` of `width` positions each, from position `first` on.
  void look_up(std::uint8_t* arena, std::int64_t first, std::int64_t rows, std::int64_t width) const {
    const std::int64_t at = first * y_.channels;
    loops_.lookup_channels({arena + x_.offset + at, rows, width * y_.channels, tables_.data(), differences_.data(),
                            arena + y_.offset + at});
  }

  const StepLoops& loops_;
  Place x_, y_;
  std::int64_t repeats_;
  std::vector<std::uint8_t> tables_, differences_;
};

}  // namespace

std::unique_ptr<Step> make_channel_lookup(const Row& row, const Place& x, const Place& y,
                                          const std::vector<std::uint8_t>& tables) {
  if (!same_shape(x, y)) refuse("input and output differ in shape");
  const auto entries = static_cast<std::int64_t>(tables.size());
  if (!entries || entries % kEntries || entries / kEntries != x.channels)
    refuse("there is not one table of 256 for each channel");
  return std::make_unique<ChannelLookup>(row, x, y, tables);
}

std::unique_ptr<Step> parse_channel_lookup(StepRecord& record) {
  return make_channel_lookup(record.row, record.input(), record.y, record.fields.numbers<std::uint8_t>());
}

}  // namespace oaq
