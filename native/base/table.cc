// The table of rows, expanded from rows.inc, and the conditions that every row meets, checked while it is compiled.
#include "base/table.h"

#include <array>
#include <stdexcept>
#include <string>

#include "base/range.h"

namespace oaq {
namespace {

constexpr Register kNone{32, Overflow::kExact, 1, 1, Overflow::kExact, 1, 0};

constexpr std::array kRows = {
#define GEMM(name, isa, sums, x, leaving, m, n, parts, functions) \
  Row{#name, "gemm", Isa::isa, sums, x, kS8, leaving, m, n, parts},
#define DEPTHWISE(name, isa, sums, x, leaving, n, weight_bytes, copy, functions, squares) \
  Row{#name, "depthwise", Isa::isa, sums, x, kS8, leaving, 1, n, 1},
#define LOOKUP(name, isa, sums, x, w, m, functions) Row{#name, "gemm", Isa::isa, sums, x, w, kBytesInOrder, m, 4, 1},
#define ADD(name, isa, function) Row{#name, "add", Isa::isa, kNone, kRawU8, kS8, kBytesInOrder, 1, 1, 1},
#define OTHER(name, family, isa) Row{#name, #family, Isa::isa, kNone, kRawU8, kS8, kBytesInOrder, 1, 1, 1},
#include "rows.inc"
};

#define GEMM(name, isa, sums, x, leaving, m, n, parts, functions) \
  Row{#name, "gemm", Isa::isa, sums, x, kS8, leaving, m, n, parts},
// Begun with a row of no name, for where there is none.
constexpr Row kDynamicRows[] = {
    Row{"", "gemm", Isa::kScalar, kQuads, kRawU8, kS8, kSumsInOrder, 1, 1, 1},
#include "dynamic_rows.inc"
};

// What holds of a row's register for certain.
//
// * A u8 less its shift lies in the range of operands, unless the range says that fewer values are taken.
// * Groups fill a step, and every lane gets equally many groups of it, so that each output's lanes are spilled
// together.
// * One product fits a narrow register and a narrow group: then every step can be proved, split if need be, and a layer
// is
//   never without a schedule.
// * The lanes of one step that is split, a product in each group, fit s32 when they are added.
// * Narrow lanes spilled together fit s32.
// * In a register that is never left by declaration, one step's products fit s32.
constexpr bool consistent(const Row& row) {
  const Register& r = row.sums;
  if (row.tile_m < 1 || row.tile_n < 1 || row.parts < 1 || row.tile_n % row.parts) return false;
  if (row.x.range.lo < kU8.lo - row.x.shift || row.x.range.hi > kU8.hi - row.x.shift) return false;
  if (r.step < 1 || r.group < 1 || r.lanes < 1 || r.step % (r.group * r.lanes) || r.max_run < 0) return false;
  if (r.bits == 32) return r.overflow == Overflow::kExact && max_terms(32, row.x.range, row.w) >= r.step;
  return r.bits >= 2 && r.bits < 32 && max_terms(r.bits, row.x.range, row.w) >= 1 &&
         max_terms(32, row.x.range, row.w) >= r.step / r.group && r.lanes * smallest(r.bits) >= smallest(32);
}
static_assert([] {
  for (const Row& row : kRows)
    if (!consistent(row)) return false;
  for (const Row& row : kDynamicRows)
    if (!consistent(row)) return false;
  return true;
}());

// Rows that are not compiled in here but must not be refused: eight lanes of smlal, one lane of k.
static_assert(consistent({"", "", Isa::kScalar, kSixteen16, kShiftedS8, kS8, kBytesInOrder, 4, 16, 1}));
static_assert(consistent({"",
                          "",
                          Isa::kScalar,
                          {24, Overflow::kSaturates, 1, 1, Overflow::kExact, 1, 0},
                          kSevenBit,
                          kS8,
                          kBytesInOrder,
                          1,
                          1,
                          1}));
// Two products do not always fit s16: a pair that saturates may not be taken for exact.
static_assert(max_terms(16, kU8, kS8) == 1);

}  // namespace

std::span<const Row> rows() { return kRows; }

std::span<const Row> dynamic_rows() { return std::span<const Row>(kDynamicRows).subspan(1); }

const Row& usable_dynamic_row(std::string_view name) {
  for (const Row& row : dynamic_rows())
    if (row.name == name && runs(row.isa)) return row;
  return usable_row(name, "gemm");
}

const Row& usable_row(std::string_view name, std::string_view family) {
  for (const Row& row : kRows) {
    if (row.name != name) continue;
    if (row.family != family)
      throw std::invalid_argument("the row " + std::string(name) + " belongs to the family " + std::string(row.family) +
                                  ", not to " + std::string(family));
    if (!runs(row.isa))
      throw std::invalid_argument(std::string(why_not(row.isa)) + " " + std::string(name_of(row.isa)) +
                                  ", which the row " + std::string(name) + " needs");
    return row;
  }
  throw std::invalid_argument("there is no row " + std::string(name));
}

std::string_view name_of(Overflow overflow) {
  constexpr std::array<std::string_view, 3> names = {"exact", "saturates", "wraps"};
  return names[static_cast<std::size_t>(overflow)];
}

}  // namespace oaq
