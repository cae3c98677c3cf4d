// A matrix of int8 weights that multiplies rows of u8 operands whose scales are found as they come, and leaves reals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/table.h"
#include "conv/conv.h"
#include "dynamic/loops.h"
#include "gemm/gemm.h"

namespace oaq {

// As a plan has it. Arrays are of (outputs) or empty where that is said.
struct ProductSpec {
  const Row* row;
  std::int64_t outputs;
  std::int64_t terms;
  std::span<const std::int8_t> packed;    // (steps, tile_n, step); the caller's, and copied
  std::vector<std::int32_t> segments;     // (tile, start, count) each, in steps
  std::vector<std::int32_t> column_sum;   // of the weights as they are multiplied
  std::vector<std::int32_t> weight_zero;  // what is to be taken from them; empty: 0
  std::vector<float> scale;
  std::vector<float> bias;  // empty: none
};

// Rows of operands: real = scale[m] * (q - zero[m]).
struct OperandRows {
  const std::uint8_t* q;  // (rows, stride); behind `terms`, zeros up to a whole step
  std::ptrdiff_t stride;
  std::int64_t rows;
  const float* scale;
  const std::int32_t* zero;
  const std::int32_t* excess;  // sum of q less terms * zero, modulo 2^32; read where weights have zero points
  bool one_zero;               // all rows have the same
};

// Immutable: any number of threads may run one.
class Product {
 public:
  // Throws std::invalid_argument: something does not fit the row, or anything else.
  explicit Product(const ProductSpec& spec);
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  const Row& row() const { return row_; }
  std::int64_t outputs() const { return outputs_; }
  std::int64_t terms() const { return terms_; }
  std::int64_t tiles() const { return static_cast<std::int64_t>(schedule_.tiles.size()); }
  bool has_weight_zeros() const { return !weight_zero_.empty(); }

  // Tiles [begin, end) at all rows, to (rows, outputs) reals.
  void run(const OperandRows& x, std::int64_t begin, std::int64_t end, float* y) const;

 private:
  void run_tile(GemmCall& call, const OperandRows& x, std::int64_t tile, float* y) const;

  const Row& row_;
  const GemmKernel& kernel_;
  const DynamicLoops& loops_;
  std::int64_t outputs_, terms_;
  Schedule schedule_;
  std::vector<Piece> pieces_;
  std::vector<std::size_t> first_piece_;  // of each tile; at last, how many there are
  AlignedVector<std::int8_t> packed_;
  AlignedVector<std::int32_t> column_sum_, weight_zero_;  // (tiles, tile_n)
  AlignedVector<float> scale_, bias_;
};

}  // namespace oaq
