// The functions behind each matrix row, and the scalar ones.
#include <stdexcept>
#include <string>

#include "gemm/gemm.h"

#ifdef OAQ_X86
extern "C" {
extern const oaq::GemmSums oaq_gemm_avx2_acc16[12];
extern const oaq::GemmSums oaq_gemm_avx2_acc32[10];
extern const oaq::GemmSums oaq_gemm_avx2_exact[4];
extern const oaq::GemmSums oaq_gemm_avx512bw_acc16[24];
extern const oaq::GemmSums oaq_gemm_avx512bw_acc32[24];
extern const oaq::GemmSums oaq_gemm_vnni[24];
}
#endif

namespace oaq {
namespace {

constexpr int kScalarTile = 8;

template <int kRows>
void scalar_sums(GemmCall* call) {
  for (int row = 0; row < kRows; ++row) {
    std::int32_t* sums = call->sums + row * kScalarTile;
    for (int n = 0; n < kScalarTile; ++n) sums[n] = call->bias[n];
    const std::int8_t* w = call->packed;
    const Piece* piece = call->pieces;
    for (std::int64_t left = call->piece_count; left > 0; --left, ++piece) {
      const std::uint8_t* x = call->x + row * call->stride + piece->first;
      for (std::int32_t step = piece->steps; step > 0; --step, x += 4)
        for (int n = 0; n < kScalarTile; ++n, w += 4) sums[n] += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
    }
  }
}

constexpr GemmSums kScalarSums[] = {scalar_sums<1>, scalar_sums<2>, scalar_sums<3>, scalar_sums<4>};

struct Entry {
  std::string_view row;
  GemmKernel kernel;
};

const Entry kKernels[] = {
    {"gemm_u8s8_scalar", {4, 1, false, kScalarSums}},
#ifdef OAQ_X86
    {"gemm_u8s8_avx2_acc16", {6, 2, true, oaq_gemm_avx2_acc16}},
    {"gemm_u8s8_avx2_acc32", {5, 2, true, oaq_gemm_avx2_acc32}},
    {"gemm_u8s8_avx2_exact", {2, 2, true, oaq_gemm_avx2_exact}},
    {"gemm_u8s8_avx512bw_acc16", {12, 2, true, oaq_gemm_avx512bw_acc16}},
    {"gemm_u8s8_avx512bw_acc32", {12, 2, true, oaq_gemm_avx512bw_acc32}},
    {"gemm_u8s8_vnni", {12, 2, true, oaq_gemm_vnni}},
#endif
};

}  // namespace

const GemmKernel& gemm_kernel(const Row& row) {
  for (const Entry& entry : kKernels)
    if (entry.row == row.name) return entry.kernel;
  throw std::invalid_argument("no matrix kernel computes " + std::string(row.name));
}

}  // namespace oaq
