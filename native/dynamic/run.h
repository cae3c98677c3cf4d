// One run of products that share their operands: scales found, reals quantized, tiles multiplied, on several threads.
#pragma once

#include <cstdint>
#include <span>

#include "dynamic/product.h"

namespace oaq {

// How reals become u8: docs/math/dynamic.md has the laws.
enum class Law : std::uint8_t {
  kTensor,   // ONNX's DynamicQuantizeLinear: one scale and zero point for all rows
  kRow,      // the same for every row
  kRowS8,    // zero point 128, [1, 255]: every row's largest magnitude is 127 steps
  kConstant  // scale and zero point are given
};

struct Quantization {
  Law law;
  RealScale constant;  // read by Law::kConstant
};

// What rows become: (rows, terms) bytes, and (rows) scales and zero points.
struct QuantizedRows {
  std::uint8_t* q;
  float* scale;
  std::int32_t* zero;
};

// What is multiplied: reals under a law, or bytes that have scales and zero points already. One of them is null.
struct Rows {
  const float* real;
  const QuantizedRows* bytes;
  std::int64_t rows;
};

inline constexpr std::int64_t kAllFinite = -1;

// Runs products that all have the same number of terms, each to its (rows, outputs) reals. Returns `kAllFinite`, or a
// row that holds a NaN, an infinity, or reals too far apart for a scale in float32: then results are of no use.
// Threads are those that all runs of the process share (base/shared_threads.h). Throws std::invalid_argument,
// std::bad_alloc, std::runtime_error: the system does not start so many threads.
std::int64_t run_products(std::span<const Product* const> products, const Rows& x, const Quantization& quantization,
                          std::span<float* const> y, int threads);

// The quantization alone, by the loops of an instruction set that this CPU runs; returns as `run_products`.
std::int64_t quantize_rows(const float* x, std::int64_t rows, std::int64_t terms, const Quantization& quantization,
                           Isa isa, const QuantizedRows& to);

}  // namespace oaq
