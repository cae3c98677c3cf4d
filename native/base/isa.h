// Instruction sets: what each includes, whether this CPU runs it, and what a thread does before and after using it.
//
// They are ordered by inclusion only, which is a partial order: a set may include several others, and of two sets
// neither need include the other. Nothing may compare them in any other way.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace oaq {

enum class Isa : std::uint8_t {
  kScalar,
  kAvx2,
  kAvx512bw,
  kVnni,
  kAvxVnni,
  kVbmi,
  kAmx,
  kNeon,
  kDotprod,
  kI8mm,
  kSimd128,
  kRelaxed
};

// Sets of instruction sets, a bit each.
using Isas = std::uint32_t;
constexpr Isas bit(Isa isa) { return Isas{1} << static_cast<unsigned>(isa); }

// One line of isa.cc.
struct InstructionSet {
  Isa isa;
  std::string_view name;
  Isas extends;        // sets whose instructions it has too, named directly; what those extend comes with them
  bool (*is_there)();  // whether the CPU and the operating system have what it adds to those
  void (*begin)();     // called by a thread before its first step of a run that uses the set; null: nothing to do
  void (*end)();       // called by the same thread after its last step
  // Rows of it cost nothing like those of the sets it extends: planned only where they were timed, or are forced.
  bool only_timed = false;
};

// Every instruction set that rows may name, each after those that it extends.
std::span<const InstructionSet> instruction_sets();

std::string_view name_of(Isa isa);
const InstructionSet& set_of(Isa isa);

// The set itself and all that it includes.
Isas included_in(Isa isa);

// Whether this CPU runs an instruction set with everything that it includes.
bool runs(Isa isa);

// Why it does not, to go on behind a row that needs it: the CPU lacks it, or the operating system refuses it.
std::string_view why_not(Isa isa);

// What a thread needs around the steps of one run: construction begins the sets of `used` in the order of the table,
// and destruction ends them in the opposite order. AMX's tile registers are configured and released so.
class ThreadState {
 public:
  explicit ThreadState(Isas used, std::span<const InstructionSet> sets = instruction_sets());
  ThreadState(const ThreadState&) = delete;
  ThreadState& operator=(const ThreadState&) = delete;
  ~ThreadState();

 private:
  Isas used_;
  std::span<const InstructionSet> sets_;
};

}  // namespace oaq
