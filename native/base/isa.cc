// What this CPU runs, and what each instruction set includes. One entry per set; nothing is computed.
#include "base/isa.h"

#include <array>

#if defined(OAQ_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(OAQ_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace oaq {
namespace {

bool always() { return true; }

// GCC's and Clang's builtin asks the CPU and, through XGETBV, whether the operating system keeps the wide registers.
#ifdef OAQ_X86
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }  // always found together
bool has_avx512bw() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool has_vnni() { return __builtin_cpu_supports("avx512vnni"); }
bool has_avxvnni() { return __builtin_cpu_supports("avxvnni"); }
#else
bool has_avx2() { return false; }
bool has_avx512bw() { return false; }
bool has_vnni() { return false; }
bool has_avxvnni() { return false; }
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

constexpr std::array kSets = {
    InstructionSet{Isa::kScalar, "scalar", 0, always, nullptr, nullptr},
    InstructionSet{Isa::kAvx2, "avx2", bit(Isa::kScalar), has_avx2, nullptr, nullptr},
    InstructionSet{Isa::kAvx512bw, "avx512bw", bit(Isa::kAvx2), has_avx512bw, nullptr, nullptr},
    InstructionSet{Isa::kVnni, "vnni", bit(Isa::kAvx512bw), has_vnni, nullptr, nullptr},
    InstructionSet{Isa::kAvxVnni, "avxvnni", bit(Isa::kAvx2), has_avxvnni, nullptr, nullptr},
    InstructionSet{Isa::kNeon, "neon", bit(Isa::kScalar), has_neon, nullptr, nullptr},
    InstructionSet{Isa::kDotprod, "dotprod", bit(Isa::kNeon), has_dotprod, nullptr, nullptr},
    InstructionSet{Isa::kI8mm, "i8mm", bit(Isa::kDotprod), has_i8mm, nullptr, nullptr},
};

// Line i describes enumerator i and extends earlier lines only, so that inclusion has no circle.
static_assert([] {
  for (std::size_t i = 0; i < kSets.size(); ++i)
    if (static_cast<std::size_t>(kSets[i].isa) != i || kSets[i].extends >> i) return false;
  return true;
}());

}  // namespace

std::span<const InstructionSet> instruction_sets() { return kSets; }

std::string_view name_of(Isa isa) { return kSets[static_cast<std::size_t>(isa)].name; }

Isas included_in(Isa isa) {
  Isas sets = bit(isa);
  for (std::size_t i = kSets.size(); i-- > 0;)  // later lines extend earlier ones
    if (sets >> i & 1) sets |= kSets[i].extends;
  return sets;
}

bool runs(Isa isa) {
  const Isas sets = included_in(isa);
  for (const InstructionSet& set : kSets)
    if ((sets & bit(set.isa)) && !set.is_there()) return false;
  return true;
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
