// Sums looked up by vpshufb: four bits of an index choose among 16 bytes, the same in both halves of a register; vpaddb
// adds them, which **wraps**.
#include "base/x86/ymm.h"
#include "lookup/x86/loops.h"

namespace oaq {
namespace {

// Bytes of 1 from `kMost` on, or up to there.
constexpr int kMost = 32;
struct Ramp {
  std::uint8_t bytes[2 * kMost];
};
constexpr Ramp kFrom = [] {
  Ramp ramp{};
  for (int i = 0; i < kMost; ++i) ramp.bytes[kMost + i] = 0xFF;
  return ramp;
}();
constexpr Ramp kUpTo = [] {
  Ramp ramp{};
  for (int i = 0; i < kMost; ++i) ramp.bytes[i] = 0xFF;
  return ramp;
}();

struct Bytes32 {
  static constexpr int kBytes = 32;
  static __m256i load(const std::uint8_t* from) { return Ymm::load(from); }
  static void store(std::uint8_t* to, __m256i value) { Ymm::store(to, value); }
  static __m256i join(__m256i a, __m256i b) { return Ymm::bits_or(a, b); }
  struct Part {
    __m256i inside, counted;
    bool is_none;
    Part(int begin, int end, int count)
        : inside(_mm256_and_si256(load(kFrom.bytes + kMost - begin), load(kUpTo.bytes + kMost - end))),
          counted(load(kUpTo.bytes + kMost - count)),
          is_none(begin >= end) {}
    __m256i of(const std::uint8_t* from, std::uint8_t pad) const {
      const __m256i pads = _mm256_and_si256(Ymm::all8(pad), counted);
      return is_none ? pads : _mm256_blendv_epi8(pads, load(from), inside);
    }
  };
};

struct Avx2 : Ymm {
  static constexpr int kEntries = 16, kVectors = 2;  // three would leave a sum on the stack

  // 16 bytes from each of two places, which are sixteen pixels apart.
  static Integers load_parts(const std::uint8_t* from, const std::int64_t* at) {
    const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at[16 * i])); };
    return _mm256_inserti128_si256(_mm256_castsi128_si256(part(0)), part(1), 1);
  }
  static Integers left16(Integers value, __m128i bits) { return _mm256_sll_epi16(value, bits); }
  static Integers add8(Integers a, Integers b) { return _mm256_add_epi8(a, b); }
  static Integers upper_bytes(Integers words) { return _mm256_srli_epi16(words, 8); }
  static Integers upper_of(Integers words) { return _mm256_slli_epi16(words, 8); }
  static __m128i load_table(const std::uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  static __m128i add_tables(__m128i a, __m128i b) { return _mm_add_epi8(a, b); }
  static void store_table(std::uint8_t* to, __m128i table) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), table); }
  static Integers spread_table(const std::uint8_t* from) { return repeat16(from); }
  static Integers entries(Integers table, const std::uint8_t* index) { return shuffle8(table, load(index)); }
  static Integers one_more_where_reached(Integers count, Integers sum, Integers threshold) {
    return sub16(count, _mm256_cmpeq_epi16(_mm256_max_epu16(sum, threshold), sum));
  }
  static Integers widen16(const std::uint16_t* from) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static void store_alternating(std::uint16_t* to, Integers even, Integers odd) {
    const Integers low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
    store(to, _mm256_permute2x128_si256(low, high, 0x20));
    store(to + 16, _mm256_permute2x128_si256(low, high, 0x31));
  }
  static void gather(const GatherCall& call) { gather_pieces<Bytes32>(call); }
  static void look_up(const std::uint8_t* table, std::int64_t count, std::uint8_t* y) {
    for (std::int64_t at = 0; at < count; ++at) y[at] = table[y[at]];
  }
};

}  // namespace

constinit const LookupLoops kAvx2Lookup = loops_of<Avx2>();

}  // namespace oaq
