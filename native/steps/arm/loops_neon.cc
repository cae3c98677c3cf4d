// The loops of steps without weights on NEON, and lookups among 64 bytes in four registers.
#include "base/arm/neon.h"
#include "steps/channel_tables.h"
#include "steps/vector_loops.h"

namespace oaq {
namespace {

// A table of 256 in sixteen registers. A lookup leaves 0 where the index is 64 or more, or what was there before.
struct Tables {
  uint8x16x4_t part[4];

  explicit Tables(const std::uint8_t* table) {
    for (int i = 0; i < 4; ++i) part[i] = vld1q_u8_x4(table + 64 * i);
  }

  uint8x16_t entries(uint8x16_t x) const {
    const uint8x16_t next = vdupq_n_u8(64);
    uint8x16_t y = vqtbl4q_u8(part[0], x);
    for (int i = 1; i < 4; ++i) {
      x = vsubq_u8(x, next);
      y = vqtbx4q_u8(y, part[i], x);
    }
    return y;
  }
};

void lookup(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  std::size_t at = 0;
  if (count >= 16) {
    const Tables tables(table);
    for (; at + 16 <= count; at += 16) vst1q_u8(y + at, tables.entries(vld1q_u8(x + at)));
  }
  for (; at < count; ++at) y[at] = table[x[at]];
}

void lookup_channels(const ChannelLookupCall& call) {
  lookup_tiles<Neon>(call, [&](std::int64_t channel, uint8x16_t(&bytes)[4]) {
    const Tables tables(call.tables + 256 * channel);
    for (uint8x16_t& sixteen : bytes) sixteen = tables.entries(sixteen);
  });
}

}  // namespace

const StepLoops kNeonSteps{Isa::kNeon,
                           vector_multiply<Neon>,
                           lookup,
                           lookup_channels,
                           nullptr,
                           vector_largest<Neon>,
                           vector_average<Neon>,
                           vector_add_up<Neon>,
                           vector_mix_columns<Neon>,
                           vector_mix_lines<Neon>,
                           shuffle_sixteens<Neon>,
                           vector_add_levels<Neon>};

}  // namespace oaq
