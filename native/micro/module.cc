// The module behind `benchmarks.micro`, not in the wheel: matrix kernels alone, and the hand-ordered loops of
// limits.py.
//
// Each function checks that what it is given is large enough for what the loops read and write, and returns seconds.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/table.h"
#include "gemm/gemm.h"

namespace nb = nanobind;

using Limit = void(const std::uint8_t* x, std::int64_t stride, const std::int8_t* packed, std::int64_t steps,
                   std::int64_t turns, void* sums);
extern "C" {
#define LIMIT(index, row, name, rows, tile_n) extern Limit oaq_limit_##index;
#include "limits.inc"
#undef LIMIT
}

namespace oaq::micro {
namespace {

struct Loop {
  std::string_view row, name;
  int rows, tile_n;
  Limit* run;
};

constexpr Loop kLoops[] = {
#define LIMIT(index, row, name, rows, tile_n) {row, name, rows, tile_n, oaq_limit_##index},
#include "limits.inc"
#undef LIMIT
};

using Operands = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Packed = nb::ndarray<const std::int8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Segments = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Sums = nb::ndarray<std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool holds, const char* requirement) {
  if (!holds) throw std::invalid_argument(requirement);
}

template <typename Work>
double seconds(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

nb::list limits() {
  nb::list loops;
  for (const Loop& loop : kLoops)
    loops.append(nb::make_tuple(std::string(loop.row), std::string(loop.name), loop.rows, loop.tile_n));
  return loops;
}

int most_rows(const std::string& row) { return usable_row(row, "gemm").tile_m; }

// `calls` calls of a row's tallest tile; sums of the last stay in `sums`.
double time_kernel(const std::string& name, const Operands& x, const Packed& packed, const Segments& segments,
                   const Sums& sums, std::int64_t calls) {
  const Row& row = usable_row(name, "gemm");
  const GemmKernel& kernel = gemm_kernel(row);
  const auto rows = static_cast<std::size_t>(row.tile_m), tile = static_cast<std::size_t>(row.tile_n);
  require(calls > 0, "a call at least");
  require(x.shape(0) == rows && sums.shape(0) == 2 * rows && sums.shape(1) == tile,
          "x of the kernel's rows; sums of twice as many, tile_n each: the second half is their bias");
  require(segments.shape(0) > 0 && segments.shape(1) == 2, "segments of (first byte of k, steps)");
  std::size_t steps = 0;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < segments.shape(0); ++i) {
    const std::int32_t first = segments(i, 0), count = segments(i, 1);
    require(first >= 0 && count > 0 && first % 4 == 0 &&
                static_cast<std::size_t>(first) + 4 * static_cast<std::size_t>(count) <= x.shape(1),
            "segments within x");
    steps += static_cast<std::size_t>(count);
    pieces.push_back({first, count, i ? After::kAdd : After::kBegin});
  }
  require(packed.shape(0) == steps * tile * 4, "packed weights of (steps, tile_n, 4)");
  return seconds([&] {
    for (std::int64_t i = 0; i < calls; ++i) {
      GemmCall call{};
      call.x = x.data();
      call.stride = static_cast<std::int64_t>(x.shape(1));
      call.packed = packed.data();
      call.pieces = pieces.data();
      call.piece_count = static_cast<std::int64_t>(pieces.size());
      call.sums = sums.data();
      call.bias = sums.data() + rows * tile;
      call.groups = call.lines = 1;
      kernel.shape(row.parts, row.tile_m)(&call);
    }
  });
}

// `turns` turns of a hand-ordered loop over all steps; its accumulators stay in `sums`.
double time_limit(std::size_t index, const Operands& x, const Packed& packed, std::int64_t steps, std::int64_t turns,
                  const Bytes& sums) {
  require(index < std::size(kLoops), "no such loop");
  const Loop& loop = kLoops[index];
  usable_row(std::string(loop.row), "gemm");
  require(steps > 0 && steps % 2 == 0 && turns > 0, "an even number of steps, a turn");
  require(x.shape(0) == static_cast<std::size_t>(loop.rows) && x.shape(1) >= 4 * static_cast<std::size_t>(steps),
          "x of the loop's rows and steps");
  require(packed.shape(0) == static_cast<std::size_t>(steps * loop.tile_n * 4), "weights of (steps, tile_n, 4)");
  require(sums.shape(0) >= 32 * 64, "sums of every register");
  return seconds(
      [&] { loop.run(x.data(), static_cast<std::int64_t>(x.shape(1)), packed.data(), steps, turns, sums.data()); });
}

// A chain of `count` dependent additions: one cycle each.
double time_cycles(std::int64_t count) {
  require(count > 0, "a cycle at least");
  return seconds([&] {
    std::int64_t remaining = count;
    asm volatile("1: decq %0\n\tjnz 1b" : "+r"(remaining));
  });
}

}  // namespace
}  // namespace oaq::micro

NB_MODULE(_micro, module) {
  namespace micro = oaq::micro;
  module.def("limits", &micro::limits, "(row, order, rows, tile_n) of every hand-ordered loop.");
  module.def("most_rows", &micro::most_rows, nb::arg("row"), "Rows of x of a row's tallest tile.");
  module.def("time_kernel", &micro::time_kernel, nb::arg("row"), nb::arg("x"), nb::arg("packed"), nb::arg("segments"),
             nb::arg("sums"), nb::arg("calls"), "Seconds of `calls` calls of a row's tallest tile.");
  module.def("time_limit", &micro::time_limit, nb::arg("index"), nb::arg("x"), nb::arg("packed"), nb::arg("steps"),
             nb::arg("turns"), nb::arg("sums"), "Seconds of `turns` turns of a hand-ordered loop.");
  module.def("time_cycles", &micro::time_cycles, nb::arg("count"), "Seconds of so many cycles.");
}
