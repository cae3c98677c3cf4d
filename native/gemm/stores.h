// Epilogues of the matrix rows, one file per instruction set; plain data only, so that nothing compiled is shared.
#pragma once

#include <cstddef>
#include <cstdint>

#include "requantize/float_requant.h"

namespace oaq {

void gemm_store_avx2(const std::int32_t* sums, int rows, int columns, const FloatRequant& how, std::uint8_t* y,
                     std::ptrdiff_t y_stride);
void gemm_store_avx512(const std::int32_t* sums, int rows, int columns, const FloatRequant& how, std::uint8_t* y,
                       std::ptrdiff_t y_stride);

}  // namespace oaq
