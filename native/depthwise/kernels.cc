// The functions behind each depthwise row, from rows.inc; none of them is here.
#include <stdexcept>
#include <string>

#include "depthwise/depthwise.h"

#define DECLARE_NONE(functions)
#define DECLARE_SQUARES(functions)                                                                          \
  extern "C" [[gnu::visibility("hidden")]] void oaq_depthwise_##functions##_3x3(const oaq::DepthwiseCall*); \
  extern "C" [[gnu::visibility("hidden")]] void oaq_depthwise_##functions##_5x5(const oaq::DepthwiseCall*);
#define DEPTHWISE(name, isa, sums, x, leaving, n, weight_bytes, copy, functions, squares) DECLARE_##squares(functions)
#define GEMM(...)
#define ADD(...)
#define LOOKUP(...)
#define OTHER(...)
#include "rows.inc"

namespace oaq {

#define DEPTHWISE(name, isa, sums, x, leaving, n, weight_bytes, copy, functions, squares)                         \
  void copy_pixels_##copy(const std::uint8_t* from, std::ptrdiff_t stride, std::int64_t count, std::uint8_t* to); \
  void depthwise_##functions(const DepthwiseCall* call);
#define GEMM(...)
#define ADD(...)
#define LOOKUP(...)
#define OTHER(...)
#include "rows.inc"

namespace {

#ifdef OAQ_X86
#include "depthwise_checks.inc"  // what the generator of loops takes DepthwiseCall and Way to be
#endif

struct Entry {
  std::string_view row;
  DepthwiseKernel kernel;
};

#define FUNCTIONS_NONE(functions) nullptr, nullptr
#define FUNCTIONS_SQUARES(functions) oaq_depthwise_##functions##_3x3, oaq_depthwise_##functions##_5x5
constexpr Entry kKernels[] = {
#define DEPTHWISE(name, isa, sums, x, leaving, n, weight_bytes, copy, functions, squares) \
  {#name, {weight_bytes, copy_pixels_##copy, depthwise_##functions, FUNCTIONS_##squares(functions)}},
#define GEMM(...)
#define ADD(...)
#define LOOKUP(...)
#define OTHER(...)
#include "rows.inc"
};

}  // namespace

const DepthwiseKernel& depthwise_kernel(const Row& row) {
  for (const Entry& entry : kKernels)
    if (entry.row == row.name) return entry.kernel;
  throw std::invalid_argument("no depthwise kernel computes " + std::string(row.name));
}

}  // namespace oaq
