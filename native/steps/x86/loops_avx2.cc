// The loops of steps without weights on ymm registers.
#include "base/x86/ymm.h"
#include "steps/channel_tables.h"
#include "steps/vector_loops.h"
#include "steps/x86/row_lookup.h"

namespace oaq {
namespace {

// Both halves of the tables at once, and two registers, so that a row is loaded once for 64 bytes.
void lookup_channels(const ChannelLookupCall& call) {
  const Ymm::Integers sixteen = Ymm::all8(16), top = Ymm::all8(128);
  lookup_tiles<Ymm>(call, [&](std::int64_t channel, Ymm::Integers(&bytes)[2]) {
    const std::uint8_t* rows = call.differences + 256 * channel;
    Ymm::Integers low[2] = {bytes[0], bytes[1]};
    Ymm::Integers high[2] = {Ymm::bits_xor(bytes[0], top), Ymm::bits_xor(bytes[1], top)};
    bytes[0] = bytes[1] = Ymm::zero();
    for (int row = 0; row < 8; ++row) {
      const Ymm::Integers below = Ymm::repeat16(rows + 16 * row), above = Ymm::repeat16(rows + 128 + 16 * row);
      for (int v = 0; v < 2; ++v) {
        const Ymm::Integers either = Ymm::bits_xor(Ymm::shuffle8(below, low[v]), Ymm::shuffle8(above, high[v]));
        bytes[v] = Ymm::bits_xor(bytes[v], either);
        low[v] = Ymm::sub_saturated8(low[v], sixteen);
        high[v] = Ymm::sub_saturated8(high[v], sixteen);
      }
    }
  });
}

}  // namespace

const StepLoops kAvx2Steps{Isa::kAvx2,
                           vector_multiply<Ymm>,
                           vector_lookup<Ymm>,
                           lookup_channels,
                           vector_rescale<Ymm>,
                           vector_largest<Ymm>,
                           vector_average<Ymm>,
                           vector_add_up<Ymm>,
                           vector_mix_columns<Ymm>,
                           vector_mix_lines<Ymm>,
                           shuffle_sixteens<Xmm>,
                           vector_add_levels<Ymm>};

}  // namespace oaq
