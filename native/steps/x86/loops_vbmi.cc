// The loops of steps without weights where AVX-512 permutes bytes (VBMI): those of AVX-512 but for tables by channel.
#include "base/x86/zmm.h"
#include "steps/x86/channel_tables.h"
#include "steps/x86/vector_loops.h"

namespace oaq {
namespace {

// vpermi2b chooses among 128 entries by seven bits of a value; the eighth says which 128.
void lookup_channels(const ChannelLookupCall& call) {
  lookup_tiles<Zmm>(call, [&](std::int64_t channel, __m512i(&bytes)[1]) {
    const std::uint8_t* table = call.tables + 256 * channel;
    const __m512i low = _mm512_permutex2var_epi8(Zmm::load(table), bytes[0], Zmm::load(table + 64));
    const __m512i high = _mm512_permutex2var_epi8(Zmm::load(table + 128), bytes[0], Zmm::load(table + 192));
    bytes[0] = _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(bytes[0]), high);
  });
}

void lookup(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  kAvx512bwSteps.lookup(x, count, table, y);
}

}  // namespace

const StepLoops kVbmiSteps{Isa::kVbmi,
                           vector_multiply<Zmm>,
                           lookup,
                           lookup_channels,
                           nullptr,
                           vector_largest<Zmm>,
                           vector_average<Zmm>,
                           vector_add_up<Zmm>,
                           vector_mix_columns<Zmm>,
                           vector_mix_lines<Zmm>,
                           shuffle_sixteens};

}  // namespace oaq
