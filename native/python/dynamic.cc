// Dynamic layers for Python: checks what it is given, drops the interpreter's lock, calls. No arithmetic.
#include "python/dynamic.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/table.h"
#include "dynamic/run.h"
#include "python/without_lock.h"

namespace nb = nanobind;

namespace oaq::python {
namespace {

template <typename T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Packed = nb::ndarray<const std::int8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Result = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <typename T>
using ResultVector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <typename T>
std::vector<T> copied(const Vector<T>& array) {
  return {array.data(), array.data() + array.size()};
}

struct PyQuantization {
  std::string law;
  float scale;
  int zero_point;

  Quantization checked() const {
    constexpr RealScale kNone{1.0f, 0, 0, 255};
    if (law == "tensor") return {Law::kTensor, kNone};
    if (law == "row") return {Law::kRow, kNone};
    if (law == "row_s8") return {Law::kRowS8, kNone};
    if (law != "constant") throw std::invalid_argument("there is no law of quantization called " + law);
    if (!(scale > 0.0f) || !std::isfinite(scale) || zero_point < 0 || zero_point > 255)
      throw std::invalid_argument("a constant scale is positive and finite, its zero point in [0, 255]");
    return {Law::kConstant, {scale, zero_point, 0, 255}};
  }
};

std::unique_ptr<Product> make_product(std::string_view row, std::int64_t terms, const Packed& packed,
                                      const std::vector<std::int32_t>& segments, const Vector<std::int32_t>& column_sum,
                                      const Vector<std::int32_t>& weight_zero, const Vector<float>& scale,
                                      const Vector<float>& bias) {
  ProductSpec spec{};
  spec.row = &usable_dynamic_row(row);
  spec.outputs = static_cast<std::int64_t>(scale.size());
  spec.terms = terms;
  spec.packed = {packed.data(), packed.size()};
  spec.segments = segments;
  spec.column_sum = copied(column_sum);
  spec.weight_zero = copied(weight_zero);
  spec.scale = copied(scale);
  spec.bias = copied(bias);
  return std::make_unique<Product>(spec);
}

struct Ends {
  std::vector<const Product*> products;
  std::vector<float*> y;
};

Ends checked_ends(const std::vector<Product*>& products, std::size_t rows, std::size_t terms,
                  const std::vector<Result<float>>& y) {
  if (products.empty() || products.size() != y.size()) throw std::invalid_argument("every product has one result");
  Ends ends;
  for (std::size_t i = 0; i < products.size(); ++i) {
    if (static_cast<std::size_t>(products[i]->terms()) != terms || y[i].shape(0) != rows ||
        y[i].shape(1) != static_cast<std::size_t>(products[i]->outputs()))
      throw std::invalid_argument("x is (rows, terms), each result (rows, outputs)");
    ends.products.push_back(products[i]);
    ends.y.push_back(y[i].data());
  }
  return ends;
}

std::int64_t run_reals(const std::vector<Product*>& products, const Matrix<float>& x,
                       const std::vector<Result<float>>& y, const PyQuantization& quantization, int threads) {
  const Ends ends = checked_ends(products, x.shape(0), x.shape(1), y);
  const Quantization checked = quantization.checked();
  WithoutLock lock;
  return run_products(ends.products, {x.data(), nullptr, static_cast<std::int64_t>(x.shape(0))}, checked, ends.y,
                      threads);
}

void run_bytes(const std::vector<Product*>& products, const Matrix<std::uint8_t>& q, const Vector<float>& scale,
               const Vector<std::int32_t>& zero, const std::vector<Result<float>>& y, int threads) {
  const Ends ends = checked_ends(products, q.shape(0), q.shape(1), y);
  if (scale.size() != q.shape(0) || zero.size() != q.shape(0))
    throw std::invalid_argument("every row has a scale and a zero point");
  // They are read only.
  const QuantizedRows rows{const_cast<std::uint8_t*>(q.data()), const_cast<float*>(scale.data()),
                           const_cast<std::int32_t*>(zero.data())};
  WithoutLock lock;
  run_products(ends.products, {nullptr, &rows, static_cast<std::int64_t>(q.shape(0))}, {Law::kTensor, {}}, ends.y,
               threads);
}

std::int64_t quantize(const Matrix<float>& x, const Result<std::uint8_t>& q, const ResultVector<float>& scale,
                      const ResultVector<std::int32_t>& zero, const PyQuantization& quantization,
                      const std::string& isa) {
  if (q.shape(0) != x.shape(0) || q.shape(1) != x.shape(1) || scale.size() != x.shape(0) || zero.size() != x.shape(0))
    throw std::invalid_argument("x and q are (rows, terms), scales and zero points (rows)");
  for (const InstructionSet& set : instruction_sets())
    if (set.name == isa) {
      const Quantization checked = quantization.checked();
      WithoutLock lock;
      return quantize_rows(x.data(), static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1)),
                           checked, set.isa, {q.data(), scale.data(), zero.data()});
    }
  throw std::invalid_argument("there is no instruction set called " + isa);
}

}  // namespace

void add_dynamic(nb::module_& module) {
  nb::class_<PyQuantization>(module, "Quantization", "How reals become u8 as they come.")
      .def(nb::init<std::string, float, int>(), nb::arg("law"), nb::arg("scale") = 1.0f, nb::arg("zero_point") = 0);
  nb::class_<Product>(module, "Product", "int8 weights that multiply u8 rows of any scale and leave reals.")
      .def(nb::new_(&make_product), nb::arg("row"), nb::arg("terms"), nb::arg("packed").noconvert(),
           nb::arg("segments"), nb::arg("column_sum").noconvert(), nb::arg("weight_zero").noconvert(),
           nb::arg("scale").noconvert(), nb::arg("bias").noconvert());
  module.def("run_products", &run_reals, nb::arg("products"), nb::arg("x").noconvert(), nb::arg("y"),
             nb::arg("quantization"), nb::arg("threads"),
             "Quantize rows of reals and multiply them; a row without a scale, or -1.");
  module.def("run_quantized", &run_bytes, nb::arg("products"), nb::arg("q").noconvert(), nb::arg("scale").noconvert(),
             nb::arg("zero").noconvert(), nb::arg("y"), nb::arg("threads"),
             "Multiply rows that are quantized already.");
  module.def("quantize_rows", &quantize, nb::arg("x").noconvert(), nb::arg("q").noconvert(),
             nb::arg("scale").noconvert(), nb::arg("zero").noconvert(), nb::arg("quantization"), nb::arg("isa"),
             "Quantize rows of reals; a row without a scale, or -1.");
}

}  // namespace oaq::python
