#include "base/table.h"

#include <array>
#include <stdexcept>
#include <string>

#include "base/range.h"

namespace oaq {
namespace {

constexpr Register kNone{32, Overflow::kExact, 1, 1, Overflow::kExact, 1, 0};

constexpr Row elementwise(std::string_view name, std::string_view family, Isa isa = Isa::kScalar) {
  return {name, family, isa, 1, kNone, kU8, kS8};
}

constexpr std::array kRows = {
    Row{"gemm_u8s8_scalar", "gemm", Isa::kScalar, 8, kQuads, kU8, kS8},
    Row{"depthwise_u8s8_scalar", "depthwise", Isa::kScalar, 8, kTapPairs, kU8, kS8},
#ifdef OAQ_X86
    Row{"gemm_u8s8_avx2_exact", "gemm", Isa::kAvx2, 16, kQuads, kU8, kS8},
    Row{"gemm_u8s8_avx2_acc32", "gemm", Isa::kAvx2, 16, kPairs32, kU8, kS8},
    Row{"gemm_u8s8_avx2_acc16", "gemm", Isa::kAvx2, 16, kPairs16, kU8, kS8},
    Row{"gemm_u8s8_avx512bw_acc32", "gemm", Isa::kAvx512bw, 32, kPairs32, kU8, kS8},
    Row{"gemm_u8s8_avx512bw_acc16", "gemm", Isa::kAvx512bw, 32, kPairs16, kU8, kS8},
    Row{"gemm_u8s8_vnni", "gemm", Isa::kVnni, 32, kQuads, kU8, kS8},
    Row{"depthwise_u8s8_avx2_exact", "depthwise", Isa::kAvx2, 32, kTapPairs, kU8, kS8},
    Row{"depthwise_u8s8_avx2_acc16", "depthwise", Isa::kAvx2, 32, kTaps16, kU8, kS8},
    Row{"depthwise_u8s8_avx512bw_acc16", "depthwise", Isa::kAvx512bw, 64, kTaps16, kU8, kS8},
    Row{"depthwise_u8s8_vnni", "depthwise", Isa::kVnni, 64, kTapQuads, kU8, kS8},
    elementwise("add_u8_avx2", "add", Isa::kAvx2),
#endif
    elementwise("add_u8_scalar", "add"),
    elementwise("mul_u8_scalar", "mul"),
    elementwise("concat_u8_scalar", "concat"),
    elementwise("max_pool_u8_scalar", "max_pool"),
    elementwise("avg_pool_u8_scalar", "avg_pool"),
    elementwise("global_avg_pool_u8_scalar", "global_avg_pool"),
    elementwise("resize_u8_scalar", "resize"),
    elementwise("depth_to_space_u8_scalar", "depth_to_space"),
    elementwise("lookup_u8_scalar", "lookup"),
    elementwise("copy_u8_scalar", "copy"),
    elementwise("pad_u8_scalar", "pad"),
    elementwise("slice_u8_scalar", "slice"),
};

// One product fits the 16-bit register of every row, so every step can be proved, split if need be: a row is never
// without a schedule. Two products do not always fit, so no row may sum a pair without one.
static_assert(max_terms(16, kU8, kS8) == 1);
// A split step holds one product per pair; two lanes of them spilled together fit s32 by far.
static_assert(2 * max_product(kU8, kS8) <= largest(32) && 2 * min_product(kU8, kS8) >= smallest(32));
// vpmaddwd on two s16 lanes of the spill cannot overflow: each is at most 2^15 in magnitude.
static_assert(2 * smallest(16) >= smallest(32));
// vpmaddwd and vpdpbusd (no saturation) on widened operands: a step's own sum fits s32.
static_assert(max_terms(32, kU8, kS8) >= 4);

constexpr bool consistent(const Row& row) {
  const Register& r = row.sums;
  if (row.tile_n < 1 || r.step < 1 || r.step % r.group || r.lanes < 1) return false;
  if (r.bits < 32) return r.group == 2 && r.step == r.group * r.lanes;  // every lane takes one pair per step
  return r.overflow == Overflow::kExact;
}
static_assert([] {
  for (const Row& row : kRows)
    if (!consistent(row)) return false;
  return true;
}());

}  // namespace

std::span<const Row> rows() { return kRows; }

const Row& usable_row(std::string_view name, std::string_view family) {
  for (const Row& row : kRows) {
    if (row.name != name) continue;
    if (row.family != family)
      throw std::invalid_argument("the row " + std::string(name) + " belongs to the family " + std::string(row.family) +
                                  ", not to " + std::string(family));
    if (!runs(row.isa))
      throw std::invalid_argument("this CPU does not run " + std::string(name_of(row.isa)) + ", which the row " +
                                  std::string(name) + " needs");
    return row;
  }
  throw std::invalid_argument("there is no row " + std::string(name));
}

std::string_view name_of(Isa isa) {
  constexpr std::array<std::string_view, 4> names = {"scalar", "avx2", "avx512bw", "vnni"};
  return names[static_cast<std::size_t>(isa)];
}

std::string_view name_of(Overflow overflow) {
  constexpr std::array<std::string_view, 3> names = {"exact", "saturates", "wraps"};
  return names[static_cast<std::size_t>(overflow)];
}

// GCC's and Clang's builtin asks the CPU and, through XGETBV, whether the operating system keeps the wide registers.
bool runs(Isa isa) {
#ifdef OAQ_X86
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");  // no CPU has one without the other
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512bw:
      return avx512;
    case Isa::kVnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
  }
  return false;
#else
  return isa == Isa::kScalar;
#endif
}

}  // namespace oaq
