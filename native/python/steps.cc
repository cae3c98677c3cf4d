#include "python/steps.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "conv/conv.h"
#include "steps/steps.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace oaq::python {
namespace {

using Pair = std::array<int, 2>;
using Four = std::array<int, 4>;
using Packed = nb::ndarray<const std::int8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Segments = nb::ndarray<const std::int32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;

template <typename Array>
auto values(const Array& array) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(array.data())>>;
  return std::vector<T>(array.data(), array.data() + array.size());
}

Multipliers multipliers(const PyMultipliers& given) {
  Multipliers result;
  if (const auto* scale = std::get_if<0>(&given)) {
    result.scale = values(*scale);
  } else {
    const auto& [multiplier, shift] = std::get<1>(given);
    result.multiplier = values(multiplier);
    result.shift = values(shift);
  }
  if (!result.size()) refuse("there are no multipliers");
  return result;
}

Output output(const PyMultipliers& requant, int zero_point, const Pair& clamp) {
  return {multipliers(requant), zero_point, {clamp[0], clamp[1]}};
}

Window window(const Pair& kernel, const Pair& stride, const Four& padding, const Pair& dilation) {
  return {{kernel[0], kernel[1]},
          {stride[0], stride[1]},
          {padding[0], padding[1], padding[2], padding[3]},
          {dilation[0], dilation[1]}};
}

ConvSpec conv_spec(const Session& self, const Row& row, const PyPlace& x, const PyPlace& y, const Window& how,
                   std::int64_t groups, const Packed& packed, const Segments& segments,
                   const Vector<std::int32_t>& bias, const PyMultipliers& requant, int x_zero_point, int y_zero_point,
                   const Pair& clamp) {
  if (packed.shape(1) != static_cast<std::size_t>(row.tile_n) ||
      packed.shape(2) != static_cast<std::size_t>(row.sums.step))
    refuse("packed weights are (steps, " + std::to_string(row.tile_n) + ", " + std::to_string(row.sums.step) + ")");
  return {&row,
          place(self, x),
          place(self, y),
          how,
          groups,
          values(packed),
          values(segments),
          values(bias),
          multipliers(requant),
          x_zero_point,
          y_zero_point,
          {clamp[0], clamp[1]}};
}

void conv2d(Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, Pair kernel, Pair stride,
            Four padding, Pair dilation, int groups, const Packed& packed, const Segments& segments,
            const Vector<std::int32_t>& bias, const PyMultipliers& requant, int x_zero_point, int y_zero_point,
            Pair clamp) {
  self.add(make_conv2d(conv_spec(self, usable_row(row, "gemm"), x, y, window(kernel, stride, padding, dilation), groups,
                                 packed, segments, bias, requant, x_zero_point, y_zero_point, clamp)));
}

void depthwise(Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, Pair kernel, Pair stride,
               Four padding, Pair dilation, const Packed& packed, const Segments& segments,
               const Vector<std::int32_t>& bias, const PyMultipliers& requant, int x_zero_point, int y_zero_point,
               Pair clamp) {
  self.add(make_depthwise(conv_spec(self, usable_row(row, "depthwise"), x, y, window(kernel, stride, padding, dilation),
                                    std::get<2>(std::get<1>(x)), packed, segments, bias, requant, x_zero_point,
                                    y_zero_point, clamp)));
}

void define_sums(nb::class_<Session>& session) {
  session.def("conv2d", &conv2d, "row"_a, "x"_a, "y"_a, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a,
              "packed"_a.noconvert(), "segments"_a.noconvert(), "bias"_a.noconvert(), "requant"_a.noconvert(),
              "x_zero_point"_a, "y_zero_point"_a, "clamp"_a);
  session.def("depthwise", &depthwise, "row"_a, "x"_a, "y"_a, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a,
              "packed"_a.noconvert(), "segments"_a.noconvert(), "bias"_a.noconvert(), "requant"_a.noconvert(),
              "x_zero_point"_a, "y_zero_point"_a, "clamp"_a);
}

void define_elementwise(nb::class_<Session>& session) {
  session.def(
      "add",
      [](Session& self, const std::string& row, const PyPlace& a, const PyPlace& b, const PyPlace& y,
         const PyMultipliers& requant, int za, int zb, int zy, Pair clamp) {
        self.add(make_add(usable_row(row, "add"), place(self, a), place(self, b), place(self, y), za, zb,
                          output(requant, zy, clamp)));
      },
      "row"_a, "a"_a, "b"_a, "y"_a, "requant"_a.noconvert(), "a_zero_point"_a, "b_zero_point"_a, "y_zero_point"_a,
      "clamp"_a);
  session.def(
      "mul",
      [](Session& self, const std::string& row, const PyPlace& a, const PyPlace& b, const PyPlace& y,
         const PyMultipliers& requant, int za, int zb, int zy, Pair clamp) {
        usable_row(row, "mul");
        self.add(make_mul(place(self, a), place(self, b), place(self, y), za, zb, output(requant, zy, clamp)));
      },
      "row"_a, "a"_a, "b"_a, "y"_a, "requant"_a.noconvert(), "a_zero_point"_a, "b_zero_point"_a, "y_zero_point"_a,
      "clamp"_a);
  session.def(
      "concat",
      [](Session& self, const std::string& row, const std::vector<PyPlace>& x, const PyPlace& y,
         const PyMultipliers& requant, const std::vector<int>& zx, int zy, Pair clamp) {
        usable_row(row, "concat");
        self.add(make_concat(places(self, x), place(self, y), zx, output(requant, zy, clamp)));
      },
      "row"_a, "x"_a, "y"_a, "requant"_a.noconvert(), "x_zero_points"_a, "y_zero_point"_a, "clamp"_a);
  session.def(
      "lookup",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, const Vector<std::uint8_t>& table) {
        usable_row(row, "lookup");
        self.add(make_lookup(place(self, x), place(self, y), values(table)));
      },
      "row"_a, "x"_a, "y"_a, "table"_a.noconvert());
}

void define_pools(nb::class_<Session>& session) {
  session.def(
      "max_pool",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, Pair kernel, Pair stride,
         Four padding, Pair dilation, Pair clamp) {
        usable_row(row, "max_pool");
        self.add(make_max_pool(place(self, x), place(self, y), window(kernel, stride, padding, dilation),
                               {clamp[0], clamp[1]}));
      },
      "row"_a, "x"_a, "y"_a, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a, "clamp"_a);
  session.def(
      "avg_pool",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, Pair kernel, Pair stride,
         Four padding, bool count_include_pad, const PyMultipliers& requant, int zx, int zy, Pair clamp) {
        usable_row(row, "avg_pool");
        self.add(make_avg_pool(place(self, x), place(self, y), window(kernel, stride, padding, {1, 1}),
                               count_include_pad, zx, output(requant, zy, clamp)));
      },
      "row"_a, "x"_a, "y"_a, "kernel"_a, "stride"_a, "padding"_a, "count_include_pad"_a, "requant"_a.noconvert(),
      "x_zero_point"_a, "y_zero_point"_a, "clamp"_a);
  session.def(
      "global_avg_pool",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, const PyMultipliers& requant,
         int zx, int zy, Pair clamp) {
        usable_row(row, "global_avg_pool");
        self.add(make_global_avg_pool(place(self, x), place(self, y), zx, output(requant, zy, clamp)));
      },
      "row"_a, "x"_a, "y"_a, "requant"_a.noconvert(), "x_zero_point"_a, "y_zero_point"_a, "clamp"_a);
}

void define_movement(nb::class_<Session>& session) {
  session.def(
      "copy",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y) {
        usable_row(row, "copy");
        self.add(make_copy(place(self, x), place(self, y)));
      },
      "row"_a, "x"_a, "y"_a);
  session.def(
      "pad",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, Four padding, int zero_point) {
        usable_row(row, "pad");
        self.add(make_pad(place(self, x), place(self, y), padding, zero_point));
      },
      "row"_a, "x"_a, "y"_a, "padding"_a, "zero_point"_a);
  session.def(
      "slice",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, std::array<int, 3> begin,
         std::array<int, 3> end) {
        usable_row(row, "slice");
        self.add(make_slice(place(self, x), place(self, y), begin, end));
      },
      "row"_a, "x"_a, "y"_a, "begin"_a, "end"_a);
  session.def(
      "resize",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, const std::string& mode) {
        usable_row(row, "resize");
        self.add(make_resize(place(self, x), place(self, y), mode));
      },
      "row"_a, "x"_a, "y"_a, "mode"_a);
  session.def(
      "depth_to_space",
      [](Session& self, const std::string& row, const PyPlace& x, const PyPlace& y, int block,
         const std::string& mode) {
        usable_row(row, "depth_to_space");
        self.add(make_depth_to_space(place(self, x), place(self, y), block, mode));
      },
      "row"_a, "x"_a, "y"_a, "block"_a, "mode"_a);
}

}  // namespace

Place place(const Session& session, const PyPlace& given) {
  const auto& [offset, shape] = given;
  const Place result{offset, std::get<0>(shape), std::get<1>(shape), std::get<2>(shape)};
  session.check(result);
  return result;
}

std::vector<Place> places(const Session& session, const std::vector<PyPlace>& given) {
  std::vector<Place> result;
  for (const PyPlace& one : given) result.push_back(place(session, one));
  return result;
}

void define_steps(nb::class_<Session>& session) {
  define_sums(session);
  define_elementwise(session);
  define_pools(session);
  define_movement(session);
}

}  // namespace oaq::python
