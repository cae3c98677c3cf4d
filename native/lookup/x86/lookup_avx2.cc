// Sums looked up by vpshufb: four bits of an index choose among 16 bytes, the same in both halves of a register; vpaddb
// adds them, which **wraps**.
#include "base/x86/ymm.h"
#include "lookup/x86/loops.h"

namespace oaq {
namespace {

struct Bytes32 {
  static __m256i load(const std::uint8_t* from) { return Ymm::load(from); }
  static void store(std::uint8_t* to, __m256i value) { Ymm::store(to, value); }
  static __m256i join(__m256i a, __m256i b) { return Ymm::bits_or(a, b); }
  // Bits as bytes: each byte's own bit of the eighth of them that it sees.
  static __m256i bytes_of(std::uint32_t bits) {
    const __m256i eighths = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i own = _mm256_set1_epi64x(static_cast<std::int64_t>(0x8040201008040201));
    const __m256i seen = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), eighths);
    return _mm256_cmpeq_epi8(_mm256_and_si256(seen, own), own);
  }
  struct Part {
    __m256i inside, counted;
    bool is_none;
    Part(std::uint64_t bits, int count)
        : inside(bytes_of(static_cast<std::uint32_t>(bits))),
          counted(bytes_of(static_cast<std::uint32_t>((std::uint64_t{1} << count) - 1))),
          is_none(bits == 0) {}
    __m256i of(const std::uint8_t* from, std::uint8_t pad) const {
      const __m256i pads = _mm256_and_si256(Ymm::all8(pad), counted);
      return is_none ? pads : _mm256_blendv_epi8(pads, load(from), inside);
    }
    __m256i or_zero(const std::uint8_t* from) const { return _mm256_and_si256(load(from), inside); }
  };
};

alignas(16) constexpr std::uint8_t kEvens[16] = {0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15};

struct Avx2 : Ymm {
  static constexpr int kEntries = 16, kVectors = 3;

  // 16 bytes from each of two places, which are sixteen pixels apart.
  static Integers load_parts(const std::uint8_t* from, const std::int64_t* at) {
    const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at[16 * i])); };
    return _mm256_inserti128_si256(_mm256_castsi128_si256(part(0)), part(1), 1);
  }
  // Even positions first in each part, then both parts' even ones; and back.
  static Integers dealt(Integers value) {
    const Integers evens = repeat16(kEvens);
    return _mm256_permute4x64_epi64(shuffle8(value, evens), 0xd8);
  }
  static Integers collected(Integers value) {
    return shuffle8(_mm256_permute4x64_epi64(value, 0xd8), repeat16(kTurns));
  }
  static Integers load_rows(const std::uint8_t* from, std::int64_t apart) { return load_sixteens(from, apart); }
  // Of bytes in pairs, the first and so many times the second, in a byte.
  static Integers joined_pairs(Integers a, Integers b, Integers times) {
    return _mm256_packus_epi16(_mm256_maddubs_epi16(a, times), _mm256_maddubs_epi16(b, times));
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
  static Integers entries(Integers table, Integers index) { return shuffle8(table, index); }
  static Integers add_saturated8(Integers a, Integers b) { return _mm256_adds_epi8(a, b); }
  // Words cut off to bytes, of both in turn.
  static Integers pack_in_turn(Integers even, Integers odd) {
    return shuffle8(_mm256_packus_epi16(even, odd), repeat16(kTurns));
  }
  static Integers one_more_byte_where_reached(Integers count, Integers sum, Integers threshold) {
    return _mm256_sub_epi8(count, _mm256_cmpeq_epi8(max8(sum, threshold), sum));
  }
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
