// The functions behind each matrix row, from rows.inc; none of them is here.
#include <stdexcept>
#include <string>

#include "gemm/gemm.h"

#define GEMM(name, isa, sums, x, leaving, m, n, parts, functions) OAQ_DECLARE_GEMM(functions, m, parts);
#define DEPTHWISE(...)
#define ADD(...)
#define LOOKUP(...)
#define OTHER(...)
#include "rows.inc"
#define GEMM(name, isa, sums, x, leaving, m, n, parts, functions) OAQ_DECLARE_GEMM(functions, m, parts);
#include "dynamic_rows.inc"

namespace oaq {
namespace {

#ifdef OAQ_X86
#include "gemm_checks.inc"  // what the generator of loops takes GemmCall, Piece, After and Way to be
#endif

struct Entry {
  std::string_view row;
  GemmKernel kernel;
};

const Entry kKernels[] = {
#define GEMM(name, isa, sums, x, leaving, m, n, parts, functions) {#name, {m, OAQ_GEMM_FUNCTIONS(functions, m, parts)}},
#define DEPTHWISE(...)
#define ADD(...)
#define LOOKUP(...)
#define OTHER(...)
#include "rows.inc"
#define GEMM(name, isa, sums, x, leaving, m, n, parts, functions) {#name, {m, OAQ_GEMM_FUNCTIONS(functions, m, parts)}},
#include "dynamic_rows.inc"
};

}  // namespace

const GemmKernel& gemm_kernel(const Row& row) {
  for (const Entry& entry : kKernels)
    if (entry.row == row.name) return entry.kernel;
  throw std::invalid_argument("no matrix kernel computes " + std::string(row.name));
}

}  // namespace oaq
