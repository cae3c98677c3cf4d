// The loops of steps without weights on zmm registers, and a lookup by permutations of words.
#include "base/x86/zmm.h"
#include "steps/channel_tables.h"
#include "steps/vector_loops.h"

namespace oaq {
namespace {

// 256 entries are 128 words in four registers. Bits 1 to 6 of a value choose a word of two registers, bit 7 which two,
// bit 0 the byte of the word.
struct Words {
  __m512i part[4];

  explicit Words(const std::uint8_t* table) {
    for (int i = 0; i < 4; ++i) part[i] = _mm512_loadu_si512(table + 64 * i);
  }

  // `index`: bits 1 to 6 of values in the lowest bits of words; `is_upper`: whose bit 7 is set.
  __m512i chosen(__m512i index, __mmask32 is_upper) const {
    const __m512i low = _mm512_permutex2var_epi16(part[0], index, part[1]);
    const __m512i high = _mm512_permutex2var_epi16(part[2], index, part[3]);
    return _mm512_mask_mov_epi16(low, is_upper, high);
  }

  __m512i entries(__m512i x) const {
    __m512i even = chosen(_mm512_srli_epi16(x, 1), _mm512_test_epi16_mask(x, _mm512_set1_epi16(0x80)));
    __m512i odd = chosen(_mm512_srli_epi16(x, 9), _mm512_movepi16_mask(x));
    even = _mm512_mask_srli_epi16(even, _mm512_test_epi16_mask(x, _mm512_set1_epi16(1)), even, 8);
    odd = _mm512_mask_slli_epi16(odd, _mm512_testn_epi16_mask(x, _mm512_set1_epi16(0x100)), odd, 8);
    return _mm512_mask_mov_epi8(even, 0xaaaaaaaaaaaaaaaa, odd);
  }
};

void lookup(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  const Words words(table);
  std::size_t at = 0;
  for (; at + 64 <= count; at += 64) _mm512_storeu_si512(y + at, words.entries(_mm512_loadu_si512(x + at)));
  if (at == count) return;
  const __mmask64 some = (std::uint64_t{1} << (count - at)) - 1;
  _mm512_mask_storeu_epi8(y + at, some, words.entries(_mm512_maskz_loadu_epi8(some, x + at)));
}

void lookup_channels(const ChannelLookupCall& call) {
  lookup_tiles<Zmm>(call, [&](std::int64_t channel, __m512i(&bytes)[1]) {
    bytes[0] = Words(call.tables + 256 * channel).entries(bytes[0]);
  });
}

}  // namespace

const StepLoops kAvx512bwSteps{Isa::kAvx512bw,
                               vector_multiply<Zmm>,
                               lookup,
                               lookup_channels,
                               nullptr,
                               vector_largest<Zmm>,
                               vector_average<Zmm>,
                               vector_add_up<Zmm>,
                               vector_mix_columns<Zmm>,
                               vector_mix_lines<Zmm>,
                               shuffle_sixteens<Xmm>,
                               vector_add_levels<Zmm>};

}  // namespace oaq
