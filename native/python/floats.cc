// Float parts for Python: checks what it is given, drops the interpreter's lock, calls. No arithmetic.
#include "python/floats.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "floats/run.h"
#include "python/without_lock.h"

namespace nb = nanobind;

namespace oaq::python {
namespace {

using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Tensor = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using ResultTensor = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Shift = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

FloatOptions options_of(const std::string& isa, int threads) {
  for (const InstructionSet& set : instruction_sets())
    if (set.name == isa) return {set.isa, threads};
  throw std::invalid_argument("there is no instruction set called " + isa);
}

// Gain and bias of each column.
struct Affine {
  Vector gain;
  std::optional<Vector> bias;

  bool fits(std::size_t width) const { return gain.size() == width && (!bias || bias->size() == width); }
};

struct Scaled {
  Affine affine;
  Result y;
};

bool alike(const Matrix& x, const Result& y) { return x.shape(0) == y.shape(0) && x.shape(1) == y.shape(1); }

void normalize_rows(const Matrix& x, const std::optional<Matrix>& other, const Affine& affine, float epsilon,
                    const std::optional<Result>& sum, const Result& y, const std::optional<Scaled>& scaled,
                    const std::string& isa, int threads) {
  const std::size_t width = x.shape(1);
  if (!width || !affine.fits(width) || (scaled && !scaled->affine.fits(width)))
    throw std::invalid_argument("gain and bias have a number for each column, of which there is one at least");
  if (!alike(x, y) || (other && !alike(*other, y)) || (sum && (!other || !alike(x, *sum))) ||
      (scaled && !alike(x, scaled->y)))
    throw std::invalid_argument("x, what is added to it, their sum and y have one shape");
  const FloatOptions options = options_of(isa, threads);
  NormalizeCall call{};
  call.x = x.data();
  call.other = other ? other->data() : nullptr;
  call.gain = affine.gain.data();
  call.bias = affine.bias ? affine.bias->data() : nullptr;
  call.epsilon = epsilon;
  call.rows = static_cast<std::int64_t>(x.shape(0));
  call.width = static_cast<std::int64_t>(width);
  call.sum = sum ? sum->data() : nullptr;
  call.y = y.data();
  if (scaled) {
    call.scaled = scaled->y.data();
    call.scaled_gain = scaled->affine.gain.data();
    call.scaled_bias = scaled->affine.bias ? scaled->affine.bias->data() : nullptr;
  }
  WithoutLock lock;
  normalize(call, options);
}

void gelu_of(const Matrix& x, const std::optional<Vector>& factor, const Result& y, const std::string& isa,
             int threads) {
  if (!alike(x, y)) throw std::invalid_argument("x and y have one shape");
  if (factor && factor->size() != x.shape(1)) throw std::invalid_argument("factors have a number for each column");
  const FloatOptions options = options_of(isa, threads);
  const GeluCall call{x.data(), static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1)),
                      factor ? factor->data() : nullptr, y.data()};
  WithoutLock lock;
  gelu(call, options);
}

std::ptrdiff_t stride_within(const Shift& shift, std::size_t axis, std::size_t whole) {
  const std::size_t size = shift.shape(axis);
  if (size != 1 && size != whole) throw std::invalid_argument("the shift is (batch, heads, rows, keys), or 1 for some");
  return size == 1 ? 0 : static_cast<std::ptrdiff_t>(shift.stride(axis));
}

void attention_of(const Tensor& q, const Tensor& k, const Tensor& v, std::int64_t heads, float scale,
                  const std::optional<Shift>& shift, const std::optional<Vector>& factor, const ResultTensor& y,
                  const std::string& isa, int threads) {
  const std::size_t batch = q.shape(0), rows = q.shape(1), keys = k.shape(1);
  const auto count = static_cast<std::size_t>(heads);
  if (heads < 1 || !q.shape(2) || !v.shape(2) || q.shape(2) % count || v.shape(2) % count || k.shape(2) != q.shape(2))
    throw std::invalid_argument("the columns of q, k and v are those of all heads, as many of q as of k");
  if (k.shape(0) != batch || v.shape(0) != batch || v.shape(1) != keys || !keys)
    throw std::invalid_argument("q, k and v have one batch, k and v one number of keys, which is 1 at least");
  if (y.shape(0) != batch || y.shape(1) != rows || y.shape(2) != v.shape(2))
    throw std::invalid_argument("y is (batch, rows of q, columns of v)");
  if (factor && factor->size() != v.shape(2)) throw std::invalid_argument("factors have a number for each column of v");
  AttentionCall call{};
  AttendCall& head = call.head;
  head.q = q.data(), head.k = k.data(), head.v = v.data(), head.y = y.data();
  head.q_stride = head.k_stride = static_cast<std::ptrdiff_t>(q.shape(2));
  head.v_stride = head.y_stride = static_cast<std::ptrdiff_t>(v.shape(2));
  head.rows = static_cast<std::int64_t>(rows), head.keys = static_cast<std::int64_t>(keys);
  head.depth = static_cast<std::int64_t>(q.shape(2) / count),
  head.width = static_cast<std::int64_t>(v.shape(2) / count);
  head.scale = scale;
  head.factor = factor ? factor->data() : nullptr;
  call.batch = static_cast<std::int64_t>(batch), call.heads = heads;
  if (shift) {
    head.shift = shift->data();
    call.shift_sample = stride_within(*shift, 0, batch), call.shift_head = stride_within(*shift, 1, count);
    head.shift_row = stride_within(*shift, 2, rows), head.shift_varies = stride_within(*shift, 3, keys) != 0;
  }
  const FloatOptions options = options_of(isa, threads);
  WithoutLock lock;
  attention(call, options);
}

}  // namespace

void add_floats(nb::module_& module) {
  module.def(
      "normalize_rows",
      [](const Matrix& x, const std::optional<Matrix>& other, const Vector& gain, const std::optional<Vector>& bias,
         float epsilon, const std::optional<Result>& sum, const Result& y, const std::optional<Vector>& scaled_gain,
         const std::optional<Vector>& scaled_bias, const std::optional<Result>& scaled, const std::string& isa,
         int threads) {
        if (scaled.has_value() != scaled_gain.has_value()) throw std::invalid_argument("what is scaled has a gain");
        std::optional<Scaled> further;
        if (scaled) further = Scaled{{*scaled_gain, scaled_bias}, *scaled};
        normalize_rows(x, other, {gain, bias}, epsilon, sum, y, further, isa, threads);
      },
      nb::arg("x").noconvert(), nb::arg("other").noconvert().none(), nb::arg("gain").noconvert(),
      nb::arg("bias").noconvert().none(), nb::arg("epsilon"), nb::arg("sum").noconvert().none(),
      nb::arg("y").noconvert(), nb::arg("scaled_gain").noconvert().none(), nb::arg("scaled_bias").noconvert().none(),
      nb::arg("scaled").noconvert().none(), nb::arg("isa"), nb::arg("threads"),
      "Layer normalization of x + other along the last axis, in float; again with another gain and bias.");
  module.def("gelu", &gelu_of, nb::arg("x").noconvert(), nb::arg("factor").noconvert().none(), nb::arg("y").noconvert(),
             nb::arg("isa"), nb::arg("threads"),
             "GELU: x times the part of a standard normal below x, times a factor of each column, in float.");
  module.def("attention", &attention_of, nb::arg("q").noconvert(), nb::arg("k").noconvert(), nb::arg("v").noconvert(),
             nb::arg("heads"), nb::arg("scale"), nb::arg("shift").noconvert().none(),
             nb::arg("factor").noconvert().none(), nb::arg("y").noconvert(), nb::arg("isa"), nb::arg("threads"),
             "Attention: softmax(scale * q k' + shift) v of every head, in float; (batch, rows, heads * columns).");
}

}  // namespace oaq::python
