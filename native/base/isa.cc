// What this CPU runs, and what each instruction set includes. One entry per set; nothing is computed.
#include "base/isa.h"

#include <array>

#ifdef OAQ_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>
#endif
#if defined(OAQ_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(OAQ_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace oaq {

#ifdef OAQ_X86
void begin_tiles();  // base/x86/tiles_amx.cc
void end_tiles();
#endif

namespace {

bool always() { return true; }

// What the CPU says by CPUID, and by XGETBV whether the operating system keeps the wide registers. The compilers'
// builtin for this is no choice: where the run-time library is zig's, it answers no to everything.
#ifdef OAQ_X86
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Leaf leaf(unsigned number, unsigned part) {
  Leaf out;
  if (!__get_cpuid_count(number, part, &out.a, &out.b, &out.c, &out.d)) return {};
  return out;
}

constexpr bool has_bits(unsigned word, std::initializer_list<int> bits) {
  for (const int bit : bits)
    if (!(word >> bit & 1)) return false;
  return true;
}

bool keeps(unsigned registers) {  // 6: xmm and ymm; 0xE6: zmm and masks too
  constexpr int kOsXsave = 27;
  if (!has_bits(leaf(1, 0).c, {kOsXsave})) return false;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & registers) == registers;
}

bool has_avx2() { return keeps(6) && has_bits(leaf(1, 0).c, {12, 28}) && has_bits(leaf(7, 0).b, {5}); }  // FMA, AVX
bool has_avx512bw() { return keeps(0xE6) && has_bits(leaf(7, 0).b, {16, 17, 30, 31}); }  // F, DQ, BW, VL
bool has_vnni() { return keeps(0xE6) && has_bits(leaf(7, 0).c, {11}); }
bool has_vbmi() { return keeps(0xE6) && has_bits(leaf(7, 0).c, {1}); }
bool has_avxvnni() { return keeps(6) && leaf(7, 0).a >= 1 && has_bits(leaf(7, 1).a, {4}); }

#ifdef OAQ_EMULATED_TILES
bool knows_tiles() { return true; }
bool may_use_tiles() { return true; }
#else
bool knows_tiles() { return keeps(0x600E6) && has_bits(leaf(7, 0).d, {24, 25}); }  // AMX-TILE, AMX-INT8

// Linux gives 8 KiB of tiles to processes that ask for them; it refuses where a thread has a stack for signals that is
// too small to save them on.
bool may_use_tiles() {
  constexpr long kAskForComponent = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kAskForComponent, kTileData) == 0;
}
#endif
bool has_amx() { return knows_tiles() && may_use_tiles(); }
#else
bool has_avx2() { return false; }
bool has_avx512bw() { return false; }
bool has_vnni() { return false; }
bool has_avxvnni() { return false; }
bool has_vbmi() { return false; }
bool knows_tiles() { return false; }
bool has_amx() { return false; }
#endif

// What AArch64 adds to NEON, which all of them have: the kernel says so on Linux, by the bits of its interface.
#if defined(OAQ_ARM64) && defined(__linux__)
constexpr unsigned long kDotprodBit = 1ul << 20, kI8mmBit = 1ul << 13;  // HWCAP_ASIMDDP of AT_HWCAP, HWCAP2_I8MM
bool has_dotprod() { return getauxval(AT_HWCAP) & kDotprodBit; }
bool has_i8mm() { return getauxval(AT_HWCAP2) & kI8mmBit; }
#elif defined(OAQ_ARM64) && defined(__APPLE__)
bool says_one(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value == 1;
}
bool has_dotprod() { return says_one("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return says_one("hw.optional.arm.FEAT_I8MM"); }
#else
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif
#ifdef OAQ_ARM64
bool has_neon() { return true; }
#else
bool has_neon() { return false; }
#endif

// A module of WebAssembly runs only where all its instructions are known: which module that is, the page chooses.
#ifdef OAQ_WASM
bool has_simd128() { return true; }
#else
bool has_simd128() { return false; }
#endif
#ifdef OAQ_WASM_RELAXED
bool has_relaxed() { return true; }
#else
bool has_relaxed() { return false; }
#endif

#ifdef OAQ_X86
constexpr void (*kBeginTiles)() = begin_tiles;
constexpr void (*kEndTiles)() = end_tiles;
#else
constexpr void (*kBeginTiles)() = nullptr;
constexpr void (*kEndTiles)() = nullptr;
#endif

constexpr std::array kSets = {
    InstructionSet{Isa::kScalar, "scalar", 0, always, nullptr, nullptr},
    InstructionSet{Isa::kAvx2, "avx2", bit(Isa::kScalar), has_avx2, nullptr, nullptr},
    InstructionSet{Isa::kAvx512bw, "avx512bw", bit(Isa::kAvx2), has_avx512bw, nullptr, nullptr},
    InstructionSet{Isa::kVnni, "vnni", bit(Isa::kAvx512bw), has_vnni, nullptr, nullptr},
    InstructionSet{Isa::kAvxVnni, "avxvnni", bit(Isa::kAvx2), has_avxvnni, nullptr, nullptr},
    InstructionSet{Isa::kVbmi, "vbmi", bit(Isa::kAvx512bw), has_vbmi, nullptr, nullptr},
    InstructionSet{Isa::kAmx, "amx", bit(Isa::kVnni), has_amx, kBeginTiles, kEndTiles, true},
    InstructionSet{Isa::kNeon, "neon", bit(Isa::kScalar), has_neon, nullptr, nullptr},
    InstructionSet{Isa::kDotprod, "dotprod", bit(Isa::kNeon), has_dotprod, nullptr, nullptr},
    InstructionSet{Isa::kI8mm, "i8mm", bit(Isa::kDotprod), has_i8mm, nullptr, nullptr},
    InstructionSet{Isa::kSimd128, "simd128", bit(Isa::kScalar), has_simd128, nullptr, nullptr},
    InstructionSet{Isa::kRelaxed, "relaxed", bit(Isa::kSimd128), has_relaxed, nullptr, nullptr},
};

// Line i describes enumerator i and extends earlier lines only, so that inclusion has no circle.
static_assert([] {
  for (std::size_t i = 0; i < kSets.size(); ++i)
    if (static_cast<std::size_t>(kSets[i].isa) != i || kSets[i].extends >> i) return false;
  return true;
}());

}  // namespace

std::span<const InstructionSet> instruction_sets() { return kSets; }

const InstructionSet& set_of(Isa isa) { return kSets[static_cast<std::size_t>(isa)]; }

std::string_view name_of(Isa isa) { return set_of(isa).name; }

Isas included_in(Isa isa) {
  Isas sets = bit(isa);
  for (std::size_t i = kSets.size(); i-- > 0;)  // later lines extend earlier ones
    if (sets >> i & 1) sets |= kSets[i].extends;
  return sets;
}

bool runs(Isa isa) {
  static const Isas there = [] {  // asked once: under a hypervisor every CPUID takes microseconds
    Isas sets = 0;
    for (const InstructionSet& set : kSets)
      if (set.is_there()) sets |= bit(set.isa);
    return sets;
  }();
  return (included_in(isa) & ~there) == 0;
}

std::string_view why_not(Isa isa) {
  if (isa == Isa::kAmx && knows_tiles() && runs(Isa::kVnni))
    return "the operating system refuses this process tile registers (arch_prctl ARCH_REQ_XCOMP_PERM), so it does not "
           "run";
  return "this CPU does not run";
}

ThreadState::ThreadState(Isas used, std::span<const InstructionSet> sets) : used_(used), sets_(sets) {
  for (const InstructionSet& set : sets_)
    if ((used_ & bit(set.isa)) && set.begin) set.begin();
}

ThreadState::~ThreadState() {
  for (std::size_t i = sets_.size(); i-- > 0;)
    if ((used_ & bit(sets_[i].isa)) && sets_[i].end) sets_[i].end();
}

}  // namespace oaq
