// Scalar matrix rows, for every CPU.
//
//   sums   s32, (rows, tile_n) in memory   sum of x[k] * w[k], all of K   **exact**: |x * w| <= 255 * 128, proved in
//   s32
//
// They leave sums, in the order of outputs; the driver requantizes them.
#include "gemm/gemm.h"

namespace oaq {
namespace {

constexpr int kTile = 8;

template <int kRows>
void sums(GemmCall* call) {
  for (int row = 0; row < kRows; ++row) {
    std::int32_t* sums = call->sums + row * kTile;
    for (int n = 0; n < kTile; ++n) sums[n] = call->bias[n];
    const std::int8_t* w = call->packed;
    const Piece* piece = call->pieces;
    for (std::int64_t left = call->piece_count; left > 0; --left, ++piece) {
      const std::uint8_t* x = call->x + row * call->stride + piece->first;
      for (std::int32_t step = piece->steps; step > 0; --step, x += 4)
        for (int n = 0; n < kTile; ++n, w += 4) sums[n] += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
    }
  }
}

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(scalar, 4, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(scalar, 4, 1)[] = {oaq::sums<1>, oaq::sums<2>, oaq::sums<3>, oaq::sums<4>};
