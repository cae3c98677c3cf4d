// What threads do around a run, on a table of made-up instruction sets: prints the calls in their order.
#include <array>
#include <cstdio>

#include "base/isa.h"

using oaq::bit;
using oaq::InstructionSet;
using oaq::Isa;

int main() {
  static constexpr std::array kSets = {
      InstructionSet{Isa::kScalar, "first", 0, nullptr, [] { std::puts("begin first"); },
                     [] { std::puts("end first"); }},
      InstructionSet{Isa::kAvx2, "second", 0, nullptr, nullptr, [] { std::puts("end second"); }},
      InstructionSet{Isa::kVnni, "third", 0, nullptr, [] { std::puts("begin third"); }, [] { std::puts("end third"); }},
  };
  {
    const oaq::ThreadState state(bit(Isa::kScalar) | bit(Isa::kVnni), kSets);
    std::puts("run");
  }
  const bool included = oaq::included_in(Isa::kVnni) & bit(Isa::kAvx2),
             back = oaq::included_in(Isa::kAvx2) & bit(Isa::kVnni);
  std::printf("vnni includes avx2: %d, avx2 includes vnni: %d\n", included, back);
}
