// ChannelLookup: a table of 256 for each channel, one integer at a time. No vector instruction looks up bytes in tables
// that differ from lane to lane faster than loads do.
#include <cstdint>
#include <utility>
#include <vector>

#include "plan/read.h"
#include "steps/steps.h"

namespace oaq {
namespace {

constexpr std::int64_t kEntries = 256;

class ChannelLookup : public Step {
 public:
  ChannelLookup(const Place& x, const Place& y, std::vector<std::uint8_t> tables)
      : x_(x), y_(y), tables_(std::move(tables)) {}

  int chunks(int threads) const override { return chunks_of(1 * static_cast<double>(y_.bytes()), threads); }

  void run(std::uint8_t* arena, std::uint8_t*, int chunk, int chunks) const override {
    const Share share(y_.height * y_.width, chunk, chunks);
    const std::uint8_t* x = arena + x_.offset + share.begin * y_.channels;
    std::uint8_t* y = arena + y_.offset + share.begin * y_.channels;
    for (std::int64_t position = share.begin; position < share.end; ++position) {
      const std::uint8_t* table = tables_.data();
      for (std::int64_t c = 0; c < y_.channels; ++c, table += kEntries) y[c] = table[x[c]];
      x += y_.channels;
      y += y_.channels;
    }
  }

 private:
  Place x_, y_;
  std::vector<std::uint8_t> tables_;
};

}  // namespace

std::unique_ptr<Step> make_channel_lookup(const Place& x, const Place& y, std::vector<std::uint8_t> tables) {
  if (!same_shape(x, y)) refuse("input and output differ in shape");
  const auto entries = static_cast<std::int64_t>(tables.size());
  if (entries % kEntries || entries / kEntries != x.channels) refuse("there is not one table of 256 for each channel");
  return std::make_unique<ChannelLookup>(x, y, std::move(tables));
}

std::unique_ptr<Step> parse_channel_lookup(StepRecord& record) {
  return make_channel_lookup(record.input(), record.y, record.fields.numbers<std::uint8_t>());
}

}  // namespace oaq
