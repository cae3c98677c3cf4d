// Sums looked up by vpermb: six bits of an index choose among the 64 bytes of a register; vpaddb adds them, which
// **wraps**.
#include "base/x86/zmm.h"
#include "lookup/x86/loops.h"

namespace oaq {
namespace {

// 64 bytes, or fewer where all pieces are as short.
struct Bytes64 {
  static __m512i load(const std::uint8_t* from) { return _mm512_loadu_si512(from); }
  static void store(std::uint8_t* to, __m512i value) { _mm512_storeu_si512(to, value); }
  static __m512i join(__m512i a, __m512i b) { return _mm512_or_si512(a, b); }
  struct Part {
    __mmask64 inside, counted;
    Part(std::uint64_t bits, int count) : inside(static_cast<__mmask64>(bits)), counted(first(count)) {}
    static __mmask64 first(int lanes) { return lanes > 63 ? ~__mmask64{0} : (__mmask64{1} << lanes) - 1; }
    __m512i of(const std::uint8_t* from, std::uint8_t pad) const {
      if (pad == 0) return or_zero(from);
      const __m512i pads = _mm512_maskz_set1_epi8(counted, static_cast<char>(pad));
      return _mm512_mask_loadu_epi8(pads, inside, from);
    }
    __m512i or_zero(const std::uint8_t* from) const { return _mm512_maskz_loadu_epi8(inside, from); }
  };
};

struct Bytes32 {
  static __m256i load(const std::uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(std::uint8_t* to, __m256i value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value); }
  static __m256i join(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }
  struct Part {
    __mmask32 inside, counted;
    Part(std::uint64_t bits, int count) : inside(static_cast<__mmask32>(bits)), counted(first(count)) {}
    static __mmask32 first(int lanes) { return static_cast<__mmask32>((1ull << lanes) - 1); }
    __m256i of(const std::uint8_t* from, std::uint8_t pad) const {
      if (pad == 0) return or_zero(from);
      const __m256i pads = _mm256_maskz_set1_epi8(counted, static_cast<char>(pad));
      return _mm256_mask_loadu_epi8(pads, inside, from);
    }
    __m256i or_zero(const std::uint8_t* from) const { return _mm256_maskz_loadu_epi8(inside, from); }
  };
};

struct Bytes16 {
  static __m128i load(const std::uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
  static void store(std::uint8_t* to, __m128i value) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), value); }
  static __m128i join(__m128i a, __m128i b) { return _mm_or_si128(a, b); }
  struct Part {
    __mmask16 inside, counted;
    Part(std::uint64_t bits, int count) : inside(static_cast<__mmask16>(bits)), counted(first(count)) {}
    static __mmask16 first(int lanes) { return static_cast<__mmask16>((1u << lanes) - 1); }
    __m128i of(const std::uint8_t* from, std::uint8_t pad) const {
      if (pad == 0) return or_zero(from);
      const __m128i pads = _mm_maskz_set1_epi8(counted, static_cast<char>(pad));
      return _mm_mask_loadu_epi8(pads, inside, from);
    }
    __m128i or_zero(const std::uint8_t* from) const { return _mm_maskz_loadu_epi8(inside, from); }
  };
};

// How positions are dealt to the parts of 16 bytes, one after another; and how they are collected again.
struct Deal {
  static constexpr int kBytes = 64;
  alignas(64) std::uint8_t dealt[kBytes], collected[kBytes];
  constexpr Deal() : dealt(), collected() {
    for (int part = 0; part < kBytes / 16; ++part)
      for (int i = 0; i < 16; ++i) {
        const int place = 16 * part + i, position = i * (kBytes / 16) + part;
        dealt[place] = static_cast<std::uint8_t>(position);
        collected[position] = static_cast<std::uint8_t>(place);
      }
  }
};
constexpr Deal kDeal;

struct Vbmi : Zmm {
  static constexpr int kEntries = 64, kVectors = 4;

  static Integers of_parts(__m128i a, __m128i b, __m128i c, __m128i d) {  // in masks: moving parts takes other units
    Integers value = _mm512_mask_broadcast_i32x4(_mm512_castsi128_si512(a), 0x00F0, b);
    value = _mm512_mask_broadcast_i32x4(value, 0x0F00, c);
    return _mm512_mask_broadcast_i32x4(value, 0xF000, d);
  }
  static Integers load_rows(const std::uint8_t* from, std::int64_t apart) {
    const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * apart)); };
    return of_parts(part(0), part(1), part(2), part(3));
  }
  // 16 bytes from each of four places, which are sixteen pixels apart.
  static Integers load_parts(const std::uint8_t* from, const std::int64_t* at) {
    const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at[16 * i])); };
    return of_parts(part(0), part(1), part(2), part(3));
  }
  static Integers dealt(Integers value) { return _mm512_permutexvar_epi8(load(kDeal.dealt), value); }
  static Integers collected(Integers value) { return _mm512_permutexvar_epi8(load(kDeal.collected), value); }
  // Of bytes in pairs, the first and so many times the second, in a byte.
  static Integers joined_pairs(Integers a, Integers b, Integers times) {
    return _mm512_packus_epi16(_mm512_maddubs_epi16(a, times), _mm512_maddubs_epi16(b, times));
  }
  static Integers left16(Integers value, __m128i bits) { return _mm512_sll_epi16(value, bits); }
  static Integers add8(Integers a, Integers b) { return _mm512_add_epi8(a, b); }
  static Integers upper_bytes(Integers words) { return _mm512_srli_epi16(words, 8); }
  static Integers upper_of(Integers words) { return _mm512_slli_epi16(words, 8); }
  static Integers load_table(const std::uint8_t* from) { return load(from); }
  static Integers add_tables(Integers a, Integers b) { return add8(a, b); }
  static void store_table(std::uint8_t* to, Integers table) { store(to, table); }
  static Integers spread_table(const std::uint8_t* from) { return load(from); }
  static Integers entries(Integers table, Integers index) { return _mm512_permutexvar_epi8(index, table); }
  static Integers add_saturated8(Integers a, Integers b) { return _mm512_adds_epi8(a, b); }
  // Words cut off to bytes, of both in turn.
  static Integers pack_in_turn(Integers even, Integers odd) {
    return shuffle8(_mm512_packus_epi16(even, odd), repeat16(kTurns));
  }
  static Integers one_more_byte_where_reached(Integers count, Integers sum, Integers threshold) {
    return _mm512_mask_add_epi8(count, _mm512_cmpge_epu8_mask(sum, threshold), count, all8(1));
  }
  static Integers one_more_where_reached(Integers count, Integers sum, Integers threshold) {
    return _mm512_mask_add_epi16(count, _mm512_cmpge_epu16_mask(sum, threshold), count, all16(1));
  }
  static Integers widen16(const std::uint16_t* from) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static void store_alternating(std::uint16_t* to, Integers even, Integers odd) {
    const Integers low = _mm512_unpacklo_epi16(even, odd), high = _mm512_unpackhi_epi16(even, odd);
    const Integers first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                   second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    store(to, _mm512_permutex2var_epi64(low, first, high));
    store(to + 32, _mm512_permutex2var_epi64(low, second, high));
  }
  static void gather(const GatherCall& call) {
    if (call.widest <= 16)
      gather_pieces<Bytes16>(call);
    else if (call.widest <= 32)
      gather_pieces<Bytes32>(call);
    else
      gather_pieces<Bytes64>(call);
  }
  // vpermi2b chooses among 128 entries by seven bits of a value; the eighth says which 128.
  static void look_up(const std::uint8_t* table, std::int64_t count, std::uint8_t* y) {
    for (std::int64_t at = 0; at < count; at += kBytes) {
      const Integers value = load(y + at);
      const Integers low = _mm512_permutex2var_epi8(load(table), value, load(table + 64));
      const Integers high = _mm512_permutex2var_epi8(load(table + 128), value, load(table + 192));
      store(y + at, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(value), high));
    }
  }
};

}  // namespace

constinit const LookupLoops kVbmiLookup = loops_of<Vbmi>();

}  // namespace oaq
