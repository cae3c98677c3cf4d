// Scalar matrix rows, for every CPU: scalar multiplies u8 as it lies, scalar_s8 the s8 that is u8 - 128, as CPUs do
// that multiply s8 by s8 only. The bias is folded for what is multiplied.
//
//   sums   s32, (rows, tile_n) in memory   sum of x[k] * w[k], all of K   **exact**: proved in s32
//
// They leave sums, in the order of outputs; the driver requantizes them.
#include "base/wrap.h"
#include "gemm/gemm.h"

namespace oaq {
namespace {

constexpr int kTile = 8;

struct Raw {
  static int of(std::uint8_t x) { return x; }
};

struct Shifted {
  static int of(std::uint8_t x) { return static_cast<std::int8_t>(x - kShiftedS8.shift); }
};

template <typename X, int kRows>
void sums(GemmCall* call) {
  for (int row = 0; row < kRows; ++row) {
    std::int32_t* sums = call->sums + row * kTile;
    for (int n = 0; n < kTile; ++n) sums[n] = call->bias[n];
    const std::int8_t* w = call->packed;
    const Piece* piece = call->pieces;
    for (std::int64_t remaining = call->piece_count; remaining > 0; --remaining, ++piece) {
      const std::uint8_t* x = call->x + row * call->stride + piece->first;
      w += piece->skipped;
      for (std::int32_t step = piece->steps; step > 0; --step, x += 4)
        for (int n = 0; n < kTile; ++n, w += 4)
          sums[n] =
              wrapping_sum(sums[n], X::of(x[0]) * w[0] + X::of(x[1]) * w[1] + X::of(x[2]) * w[2] + X::of(x[3]) * w[3]);
    }
  }
}

}  // namespace
}  // namespace oaq

OAQ_DECLARE_GEMM(scalar, 4, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(scalar, 4, 1)[] = {oaq::sums<oaq::Raw, 1>, oaq::sums<oaq::Raw, 2>,
                                                          oaq::sums<oaq::Raw, 3>, oaq::sums<oaq::Raw, 4>};
OAQ_DECLARE_GEMM(scalar_s8, 4, 1);
const oaq::GemmSums OAQ_GEMM_FUNCTIONS(scalar_s8, 4, 1)[] = {oaq::sums<oaq::Shifted, 1>, oaq::sums<oaq::Shifted, 2>,
                                                             oaq::sums<oaq::Shifted, 3>, oaq::sums<oaq::Shifted, 4>};
