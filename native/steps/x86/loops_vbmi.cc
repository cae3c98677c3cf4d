// Tables by channel where AVX-512 permutes bytes (VBMI).
#include "base/x86/zmm.h"
#include "steps/channel_tables.h"

namespace oaq {

// vpermi2b chooses among 128 entries by seven bits of a value; the eighth says which 128.
void lookup_channels_vbmi(const ChannelLookupCall& call) {
  lookup_tiles<Zmm>(call, [&](std::int64_t channel, __m512i(&bytes)[1]) {
    const std::uint8_t* table = call.tables + 256 * channel;
    const __m512i low = _mm512_permutex2var_epi8(Zmm::load(table), bytes[0], Zmm::load(table + 64));
    const __m512i high = _mm512_permutex2var_epi8(Zmm::load(table + 128), bytes[0], Zmm::load(table + 192));
    bytes[0] = _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(bytes[0]), high);
  });
}

}  // namespace oaq
