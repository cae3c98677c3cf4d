// The stages of a run: extremes of all reals where one scale serves them, then quantization and products together, in
// blocks of rows; where rows are few, threads share outputs instead, and rows are quantized in a stage of their own.
#include "dynamic/run.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/shared_threads.h"
#include "base/sizes.h"
#include "session/session.h"

namespace oaq {
namespace {

constexpr std::int64_t kBlockBytes = 128 * 1024;  // of operands that are quantized and multiplied together
constexpr std::int64_t kFewGroups = 2;            // of rows, per thread: with fewer, threads share outputs
// A nanosecond of one thread, about: reals read for extremes, quantized, products of vectors and of scalar code.
constexpr double kRealsRead = 16, kRealsQuantized = 8, kVectorProducts = 64, kScalarProducts = 2;

float scale_of(float reach, float steps) {
  const float scale = reach / steps;
  return scale > 0.0f ? scale : 1.0f;  // nothing but zeros, or what is nothing in float32
}

// ONNX's law; infinite where reals are.
RealScale tensor_scale(const Extremes& ends) {
  const float scale = scale_of(ends.most - ends.least, 255.0f);
  const float zero = std::min(std::max(0.0f - ends.least / scale, 0.0f), 255.0f);
  const bool is_zero = zero > 0.0f;  // NaN is not
  return {scale, is_zero ? static_cast<std::int32_t>(std::nearbyint(zero)) : 0, 0, 255};
}

RealScale symmetric_scale(const Extremes& ends) {
  return {scale_of(std::max(-ends.least, ends.most), 127.0f), 128, 1, 255};
}

// Rows lie an odd number of lines apart, so that a column of them does not meet in one set of a cache.
std::ptrdiff_t row_stride(std::int64_t terms) {
  return (divided_up(terms, static_cast<std::int64_t>(kLine)) | 1) * static_cast<std::ptrdiff_t>(kLine);
}

// Memory of the caller's thread, kept for its next run.
struct Buffers {
  AlignedVector<std::uint8_t> operands;
  AlignedVector<float> scale;
  AlignedVector<std::int32_t> zero, excess;
};

template <typename T>
void hold(AlignedVector<T>& buffer, std::size_t count) {
  if (buffer.size() < count) buffer.resize(count);
}

class DynamicRun : public Work {
 public:
  DynamicRun(std::span<const Product* const> products, const Rows& x, const Quantization& quantization,
             std::span<float* const> y, int threads);

  std::int64_t failed() const { return failed_.load(std::memory_order_relaxed); }

  std::uint32_t stages() const override { return static_cast<std::uint32_t>(stages_.size()); }
  int chunks(std::uint32_t stage) const override { return stages_[stage].chunks; }
  void compute(std::uint32_t stage, int chunk, int chunks, int thread) override;
  void complete(std::uint32_t stage) override;
  Isas isas() const override { return included_in(products_[0]->row().isa); }

 private:
  enum class Kind : std::uint8_t { kExtremes, kQuantize, kMultiply };
  struct Stage {
    Kind kind;
    int chunks;
  };
  bool one_scale() const { return x_.real && (law_.law == Law::kTensor || law_.law == Law::kConstant); }
  int chunks_within(double nanoseconds, std::int64_t most) const;
  void fail(std::int64_t row);
  void read(std::int64_t begin, std::int64_t end, std::uint8_t* to);
  RealScale scale_of_row(const float* x) const;
  void multiply_rows(std::int64_t begin, std::int64_t end, std::uint8_t* scratch);
  void multiply_tiles(std::int64_t begin, std::int64_t end);
  OperandRows operands(const std::uint8_t* q, std::int64_t begin, std::int64_t rows) const;

  std::span<const Product* const> products_;
  Rows x_;
  Quantization law_;
  std::span<float* const> y_;
  int threads_;
  std::int64_t terms_, step_, tiles_ = 0, block_rows_;
  std::ptrdiff_t stride_;
  const DynamicLoops& loops_;
  bool by_rows_, sums_rows_ = false;
  std::vector<Stage> stages_;
  std::vector<Extremes> ends_;  // of each chunk
  RealScale common_{};
  Buffers& memory_;
  std::size_t scratch_bytes_ = 0;
  std::atomic<std::int64_t> failed_{kAllFinite};
};

Buffers& buffers() {
  static thread_local Buffers memory;
  return memory;
}

DynamicRun::DynamicRun(std::span<const Product* const> products, const Rows& x, const Quantization& quantization,
                       std::span<float* const> y, int threads)
    : products_(products),
      x_(x),
      law_(quantization),
      y_(y),
      threads_(threads),
      terms_(products[0]->terms()),
      step_(products[0]->row().sums.step),
      stride_(row_stride(terms_)),
      loops_(dynamic_loops(products[0]->row().isa)),
      common_(quantization.constant),
      memory_(buffers()) {
  double outputs = 0;
  for (const Product* product : products_) {
    outputs += static_cast<double>(product->outputs());
    tiles_ += product->tiles();
    sums_rows_ |= product->has_weight_zeros();
  }
  const Row& row = products_[0]->row();
  const std::int64_t groups = std::clamp<std::int64_t>(kBlockBytes / stride_ / row.tile_m, 1, 16);
  block_rows_ = std::min(groups * row.tile_m, x_.rows);
  by_rows_ = threads_ == 1 || x_.rows >= threads_ * kFewGroups * row.tile_m;
  const double values = static_cast<double>(x_.rows) * static_cast<double>(terms_);
  const double products_per_ns = row.isa == Isa::kScalar ? kScalarProducts : kVectorProducts;
  if (x_.real && law_.law == Law::kTensor)
    stages_.push_back({Kind::kExtremes, chunks_within(values / kRealsRead, x_.rows)});
  if (!by_rows_) stages_.push_back({Kind::kQuantize, chunks_within(values / kRealsQuantized, x_.rows)});
  stages_.push_back({Kind::kMultiply, chunks_within(values * outputs / products_per_ns,
                                                    by_rows_ ? divided_up(x_.rows, row.tile_m) : tiles_)});
  ends_.resize(static_cast<std::size_t>(stages_[0].chunks));
  const auto rows = static_cast<std::size_t>(x_.rows);
  hold(memory_.scale, rows);
  hold(memory_.zero, rows);
  if (sums_rows_) hold(memory_.excess, rows);
  scratch_bytes_ = bytes_of({by_rows_ ? block_rows_ : x_.rows, stride_});
  hold(memory_.operands, by_rows_ ? bytes_of({static_cast<std::int64_t>(scratch_bytes_), threads_}) : scratch_bytes_);
}

int DynamicRun::chunks_within(double nanoseconds, std::int64_t most) const {
  return static_cast<int>(
      std::clamp<std::int64_t>(chunks_of(nanoseconds, threads_), 1, std::min<std::int64_t>(most, kMostChunks)));
}

void DynamicRun::fail(std::int64_t row) { failed_.store(row, std::memory_order_relaxed); }

void DynamicRun::compute(std::uint32_t stage, int chunk, int chunks, int thread) {
  const auto cut = [&](std::int64_t size, int at) { return size * at / chunks; };
  const std::int64_t begin = cut(x_.rows, chunk), end = cut(x_.rows, chunk + 1);
  if (failed() != kAllFinite) return;
  switch (stages_[stage].kind) {
    case Kind::kExtremes:
      ends_[static_cast<std::size_t>(chunk)] = loops_.extremes(x_.real + begin * terms_, (end - begin) * terms_);
      break;
    case Kind::kQuantize:
      read(begin, end, memory_.operands.data() + begin * stride_);
      break;
    case Kind::kMultiply:
      if (by_rows_)
        multiply_rows(begin, end, memory_.operands.data() + scratch_bytes_ * static_cast<std::size_t>(thread));
      else
        multiply_tiles(cut(tiles_, chunk), cut(tiles_, chunk + 1));
  }
}

void DynamicRun::complete(std::uint32_t stage) {
  if (stages_[stage].kind != Kind::kExtremes) return;
  Extremes all{0.0f, 0.0f};
  for (const Extremes& ends : ends_) {
    all.least = std::min(all.least, ends.least);
    all.most = std::max(all.most, ends.most);
  }
  common_ = tensor_scale(all);
  if (std::isfinite(common_.scale)) return;
  for (std::int64_t row = 0; row < x_.rows; ++row) {  // which one, for the message: the first whose own scale is not
    const Extremes ends = loops_.extremes(x_.real + row * terms_, terms_);
    if (!std::isfinite(ends.least) || !std::isfinite(ends.most)) return fail(row);
  }
  fail(0);  // every real is finite, their distance is not
}

RealScale DynamicRun::scale_of_row(const float* x) const {
  if (one_scale()) return common_;
  const Extremes ends = loops_.extremes(x, terms_);
  return law_.law == Law::kRowS8 ? symmetric_scale(ends) : tensor_scale(ends);
}

// Rows [begin, end) as operands, with what they mean.
void DynamicRun::read(std::int64_t begin, std::int64_t end, std::uint8_t* to) {
  const auto terms = static_cast<std::size_t>(terms_),
             whole = static_cast<std::size_t>(divided_up(terms_, step_) * step_);
  for (std::int64_t row = begin; row < end; ++row, to += stride_) {
    const auto at = static_cast<std::size_t>(row);
    if (x_.real) {
      const float* x = x_.real + row * terms_;
      const RealScale numbers = scale_of_row(x);
      if (!std::isfinite(numbers.scale) || !loops_.quantize(x, terms_, numbers, to)) return fail(row);
      memory_.scale[at] = numbers.scale;
      memory_.zero[at] = numbers.zero;
    } else {
      std::memcpy(to, x_.bytes->q + row * terms_, terms);
      memory_.scale[at] = x_.bytes->scale[row];
      memory_.zero[at] = x_.bytes->zero[row];
    }
    std::memset(to + terms, 0, whole - terms);
    if (!sums_rows_) continue;
    std::uint32_t sum = 0;
    for (std::size_t k = 0; k < terms; ++k) sum += to[k];
    const auto zeros = static_cast<std::uint32_t>(terms) * static_cast<std::uint32_t>(memory_.zero[at]);
    memory_.excess[at] = static_cast<std::int32_t>(sum - zeros);
  }
}

OperandRows DynamicRun::operands(const std::uint8_t* q, std::int64_t begin, std::int64_t rows) const {
  const bool one_zero = rows == 1 || one_scale() || (x_.real && law_.law == Law::kRowS8);
  return {q,
          stride_,
          rows,
          memory_.scale.data() + begin,
          memory_.zero.data() + begin,
          sums_rows_ ? memory_.excess.data() + begin : nullptr,
          one_zero};
}

void DynamicRun::multiply_rows(std::int64_t begin, std::int64_t end, std::uint8_t* scratch) {
  for (std::int64_t first = begin; first < end; first += block_rows_) {
    const std::int64_t rows = std::min(block_rows_, end - first);
    read(first, first + rows, scratch);
    if (failed() != kAllFinite) return;
    for (std::size_t i = 0; i < products_.size(); ++i)
      products_[i]->run(operands(scratch, first, rows), 0, products_[i]->tiles(),
                        y_[i] + first * products_[i]->outputs());
  }
}

// Tiles of all products, counted one after another.
void DynamicRun::multiply_tiles(std::int64_t begin, std::int64_t end) {
  std::int64_t before = 0;
  for (std::size_t i = 0; i < products_.size(); ++i) {
    const std::int64_t tiles = products_[i]->tiles();
    const std::int64_t first = std::max<std::int64_t>(begin - before, 0), last = std::min(end - before, tiles);
    if (first < last) products_[i]->run(operands(memory_.operands.data(), 0, x_.rows), first, last, y_[i]);
    before += tiles;
  }
}

void check(std::span<const Product* const> products, const Rows& x, std::span<float* const> y, int threads) {
  if (products.empty() || products.size() != y.size()) throw std::invalid_argument("every product has one result");
  for (const Product* product : products)
    if (product->terms() != products[0]->terms() || &product->row() != &products[0]->row())
      throw std::invalid_argument("products that share operands have the same terms and the same row");
  if (threads < 1 || threads > kMostThreads) throw std::invalid_argument("threads is 1 to 256");
  if ((x.real == nullptr) == (x.bytes == nullptr)) throw std::invalid_argument("operands are reals or bytes");
}

}  // namespace

std::int64_t run_products(std::span<const Product* const> products, const Rows& x, const Quantization& quantization,
                          std::span<float* const> y, int threads) {
  if (x.rows == 0) return kAllFinite;
  check(products, x, y, threads);
  DynamicRun run(products, x, quantization, y, threads);
  SharedThreads::for_ever(threads).run(run);
  return run.failed();
}

std::int64_t quantize_rows(const float* x, std::int64_t rows, std::int64_t terms, const Quantization& quantization,
                           Isa isa, const QuantizedRows& to) {
  if (!runs(isa)) throw std::invalid_argument("this CPU lacks the instruction set");
  const DynamicLoops& loops = dynamic_loops(isa);
  const bool is_tensor = quantization.law == Law::kTensor;
  const RealScale tensor = is_tensor ? tensor_scale(loops.extremes(x, rows * terms)) : quantization.constant;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* from = x + row * terms;
    RealScale numbers = tensor;
    if (quantization.law == Law::kRow) numbers = tensor_scale(loops.extremes(from, terms));
    if (quantization.law == Law::kRowS8) numbers = symmetric_scale(loops.extremes(from, terms));
    if (!std::isfinite(numbers.scale) || !loops.quantize(from, terms, numbers, to.q + row * terms)) return row;
    to.scale[row] = numbers.scale;
    to.zero[row] = numbers.zero;
  }
  return kAllFinite;
}

}  // namespace oaq
