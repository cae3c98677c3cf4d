// The module `oaq.kernels._native`: checks what it is given, drops the interpreter's lock, calls. No arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <stdexcept>

#include "base/sizes.h"
#include "base/table.h"
#include "conv/conv.h"
#include "conv/patches.h"
#include "depthwise/depthwise.h"
#include "gemm/operands.h"
#include "gemm/regions.h"
#include "plan/load.h"
#include "python/dynamic.h"
#include "python/floats.h"
#include "python/without_lock.h"
#include "requantize/in_words.h"
#include "steps/quantize.h"

namespace nb = nanobind;

namespace oaq::python {
namespace {

nb::tuple names_of(Isas isas) {
  nb::list names;
  for (const InstructionSet& set : instruction_sets())
    if (isas & bit(set.isa)) names.append(nb::str(set.name.data(), set.name.size()));
  return nb::tuple(names);
}

nb::list table_of(std::span<const Row> rows) {
  nb::list table;
  for (const Row& row : rows) {
    nb::dict entry;
    const auto text = [](std::string_view view) { return nb::str(view.data(), view.size()); };
    entry["name"] = text(row.name);
    entry["family"] = text(row.family);
    entry["isa"] = text(name_of(row.isa));
    entry["tile_n"] = row.tile_n;
    entry["includes"] = names_of(included_in(row.isa) & ~bit(row.isa));
    entry["tile_m"] = row.tile_m;
    entry["parts"] = row.parts;
    entry["step"] = row.sums.step;
    entry["lanes"] = row.sums.lanes;
    entry["group"] = row.sums.group;
    entry["bits"] = row.sums.bits;
    entry["overflow"] = text(name_of(row.sums.overflow));
    entry["group_overflow"] = text(name_of(row.sums.group_overflow));
    entry["max_run"] = row.sums.max_run ? nb::cast(row.sums.max_run) : nb::none();
    entry["shift"] = row.x.shift;
    entry["x_range"] = nb::make_tuple(row.x.range.lo, row.x.range.hi);
    entry["w_range"] = nb::make_tuple(row.w.lo, row.w.hi);
    entry["copy_bytes"] = copy_bytes(row);
    nb::list squares;
    for (const int side : {3, 5})
      if (row.family == "depthwise" && depthwise_kernel(row).square(side)) squares.append(side);
    entry["squares"] = nb::tuple(squares);
    entry["available"] = runs(row.isa);
    entry["only_timed"] = set_of(row.isa).only_timed;
    table.append(entry);
  }
  return table;
}

nb::list kernel_table() { return table_of(rows()); }

nb::list dynamic_table() { return table_of(dynamic_rows()); }

std::vector<std::string> cpu_isas() {
  std::vector<std::string> names;
  for (const InstructionSet& set : instruction_sets())
    if (runs(set.isa)) names.emplace_back(set.name);
  return names;
}

using PySizes = std::array<std::int64_t, 3>;

// Whether a matrix row reads the windows of a convolution in lines; not what native code would refuse to build.
bool row_reads_lines(std::string_view name, const PySizes& x, const PySizes& y, std::array<std::int64_t, 2> kernel,
                     std::array<std::int64_t, 2> stride, std::array<std::int64_t, 4> padding,
                     std::array<std::int64_t, 2> dilation, std::int64_t groups) {
  const Window window{{kernel[0], kernel[1]},
                      {stride[0], stride[1]},
                      {padding[0], padding[1], padding[2], padding[3]},
                      {dilation[0], dilation[1]}};
  const Place from{0, x[0], x[1], x[2]}, to{0, y[0], y[1], y[2]};
  for (const Row& row : rows()) {
    if (row.name != name || row.family != "gemm") continue;
    try {
      check_window(window, from, to);
      bytes_of({x[0], x[1], x[2]});
    } catch (const std::invalid_argument&) {
      return false;
    }
    return x[2] > 0 && reads_lines(row, window, from, to, groups);
  }
  throw std::invalid_argument("there is no matrix row " + std::string(name));
}

// (lines, columns, lines and columns of the window that see the image) of every region of a convolution's outputs; see
// gemm/regions.h.
std::vector<std::array<std::int64_t, 4>> border_regions(std::int64_t tile_m, const PySizes& x, const PySizes& y,
                                                        std::array<std::int64_t, 2> kernel,
                                                        std::array<std::int64_t, 2> stride,
                                                        std::array<std::int64_t, 4> padding,
                                                        std::array<std::int64_t, 2> dilation) {
  const Window window{{kernel[0], kernel[1]},
                      {stride[0], stride[1]},
                      {padding[0], padding[1], padding[2], padding[3]},
                      {dilation[0], dilation[1]}};
  const Place from{0, x[0], x[1], x[2]}, to{0, y[0], y[1], y[2]};
  check_window(window, from, to);
  if (tile_m < 1) throw std::invalid_argument("a tile has a position at least, not " + std::to_string(tile_m));
  std::vector<std::array<std::int64_t, 4>> sizes;
  for (const Region& region : regions_of(window, from, to, tile_m))
    sizes.push_back({region.lines, region.columns, region.seen.line_end - region.seen.line,
                     region.seen.column_end - region.seen.column});
  return sizes;
}

nb::dict build_info() {
  nb::dict info;
  info["compiler"] = OAQ_COMPILER;
  info["flags"] = OAQ_FLAGS;
  info["sanitizer"] = OAQ_SANITIZER;
#ifdef OAQ_EMULATED_TILES
  info["tiles"] = "emulated";
#else
  info["tiles"] = "the CPU's";
#endif
  return info;
}

using Image = nb::ndarray<const std::uint8_t, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<std::uint8_t, nb::c_contig, nb::device::cpu>;

// The batch of an array that holds whole samples of `place`.
template <typename Array>
std::int64_t batch_of(const Array& array, const Place& place, const char* role) {
  const std::size_t bytes = place.bytes();
  if (array.ndim() < 1 || array.size() != array.shape(0) * bytes)
    throw std::invalid_argument(std::string(role) + ": an array of (batch, ...) with " + std::to_string(bytes) +
                                " values per sample is needed");
  return static_cast<std::int64_t>(array.shape(0));
}

template <typename Array>
std::int64_t batch_of_all(const std::vector<Array>& arrays, const std::vector<Place>& places, const char* role) {
  if (arrays.size() != places.size())
    throw std::invalid_argument(std::to_string(places.size()) + " " + role + " are needed, not " +
                                std::to_string(arrays.size()));
  std::int64_t batch = 0;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const std::int64_t samples = batch_of(arrays[i], places[i], role);
    if (i && samples != batch) throw std::invalid_argument(std::string(role) + " differ in their batch");
    batch = samples;
  }
  return batch;
}

// A plan that was loaded; what callers hand over is checked against its tensors.
class PlanSession {
 public:
  PlanSession(const nb::bytes& plan, int threads, std::size_t memory_limit, int chunks)
      : plan_(load_plan({static_cast<const std::uint8_t*>(plan.data()), plan.size()}, threads, memory_limit, chunks)) {}

  Session& session() { return *plan_.session; }
  const Session& session() const { return *plan_.session; }
  std::array<std::size_t, 4> memory() const { return {plan_.arena, plan_.arenas, plan_.weights, plan_.scratch}; }

 private:
  LoadedPlan plan_;
};

void run(PlanSession& self, const std::vector<Image>& inputs, const std::vector<Result>& outputs) {
  Session& session = self.session();
  const std::int64_t batch = batch_of_all(inputs, session.inputs(), "inputs");
  if (batch_of_all(outputs, session.outputs(), "outputs") != batch)
    throw std::invalid_argument("inputs and outputs differ in their batch");
  std::vector<const std::uint8_t*> from;
  std::vector<std::uint8_t*> to;
  for (const Image& input : inputs) from.push_back(input.data());
  for (const Result& output : outputs) to.push_back(output.data());
  const auto stop = [](void* lock) { return static_cast<WithoutLock*>(lock)->is_interrupted(); };
  bool finished = true;
  {
    WithoutLock lock;
    finished = session.run(batch, from, to, stop, &lock);
  }
  if (!finished) throw nb::python_error();
}

using Real = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Pixels = nb::ndarray<std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

// The instruction set of that name, which this CPU runs; the widest if it has no name.
Isa named_isa(std::string_view name) {
  if (name.empty()) return widest_isa();
  for (const InstructionSet& set : instruction_sets())
    if (set.name == name && runs(set.isa)) return set.isa;
  throw std::invalid_argument("this CPU runs no instruction set called " + std::string(name));
}

bool quantize_batch(const Real& real, const Pixels& q, float scale, int zero_point, std::array<int, 2> clamp,
                    std::string_view isa_name) {
  const Isa isa = named_isa(isa_name);
  const std::size_t batch = real.shape(0), channels = real.shape(1), pixels = real.shape(2);
  if (q.shape(0) != batch || q.shape(1) != pixels || q.shape(2) != channels)
    throw std::invalid_argument("real is (batch, channels, pixels), q is (batch, pixels, channels)");
  if (channels > (std::size_t{1} << 24)) throw std::invalid_argument("there are more than 2^24 channels");
  const InputScale numbers{scale, zero_point, {clamp[0], clamp[1]}};
  check_output(zero_point, numbers.clamp);
  if (!(scale > 0.0f)) throw std::invalid_argument("the scale is not positive");
  WithoutLock lock;
  bool is_complete = true;
  for (std::size_t sample = 0; sample < batch; ++sample) {
    const std::size_t at = sample * channels * pixels;
    is_complete &= quantize(real.data() + at, static_cast<std::int64_t>(channels), static_cast<std::int64_t>(pixels),
                            numbers, q.data() + at, isa);
  }
  return is_complete;
}

using ConstPixels = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using RealOutput = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void dequantize_batch(const ConstPixels& q, const RealOutput& real, float scale, int zero_point,
                      std::string_view isa_name) {
  const Isa isa = named_isa(isa_name);
  const std::size_t batch = real.shape(0), channels = real.shape(1), pixels = real.shape(2);
  if (q.shape(0) != batch || q.shape(1) != pixels || q.shape(2) != channels)
    throw std::invalid_argument("q is (batch, pixels, channels), real is (batch, channels, pixels)");
  if (zero_point < -(1 << 24) || zero_point > (1 << 24)) throw std::invalid_argument("the zero point leaves 24 bits");
  WithoutLock lock;
  for (std::size_t sample = 0; sample < batch; ++sample) {
    const std::size_t at = sample * channels * pixels;
    dequantize(q.data() + at, static_cast<std::int64_t>(channels), static_cast<std::int64_t>(pixels), scale, zero_point,
               real.data() + at, isa);
  }
}

}  // namespace
}  // namespace oaq::python

NB_MODULE(_native, module) {
  using namespace oaq;
  using namespace oaq::python;
  nb::set_leak_warnings(false);  // sessions of daemon threads live until the process ends
  module.doc() = "Native kernels of oaq.";
  module.def("kernel_table", &kernel_table, "Every row compiled in: its contract, and whether this CPU runs it.");
  module.def("dynamic_table", &dynamic_table, "Rows of dynamic layers besides those of the table.");
  module.def("cpu_isas", &cpu_isas, "The instruction sets this CPU runs, each after those that it includes.");
  module.def(
      "reads_lines", &row_reads_lines, nb::arg("row"), nb::arg("x"), nb::arg("y"), nb::arg("kernel"), nb::arg("stride"),
      nb::arg("padding"), nb::arg("dilation"), nb::arg("groups"),
      "Whether a matrix row reads the windows of a convolution as they lie; x and y are (height, width, channels).");
  module.def(
      "border_regions", &border_regions, nb::arg("tile_m"), nb::arg("x"), nb::arg("y"), nb::arg("kernel"),
      nb::arg("stride"), nb::arg("padding"), nb::arg("dilation"),
      "Parts of outputs whose windows see the image alike: (lines, columns, lines and columns of the window that see "
      "it).");
  module.def("build_info", &build_info, "Compiler, flags and sanitizer of this module.");
  module.def("quantize", &quantize_batch, nb::arg("real").noconvert(), nb::arg("q").noconvert(), nb::arg("scale"),
             nb::arg("zero_point"), nb::arg("clamp"), nb::arg("isa") = "",
             "Real values to integers, channels made innermost; False if one is NaN.");
  module.def("dequantize", &dequantize_batch, nb::arg("q").noconvert(), nb::arg("real").noconvert(), nb::arg("scale"),
             nb::arg("zero_point"), nb::arg("isa") = "",
             "Integers, channels innermost, to real values, channels outermost.");
  module.def(
      "word_multiplier",
      [](float scale, int zero_point, std::array<int, 2> clamp) {
        check_output(zero_point, {clamp[0], clamp[1]});
        return word_multiplier(scale, clamp[0] - zero_point, clamp[1] - zero_point);
      },
      nb::arg("scale"), nb::arg("zero_point"), nb::arg("clamp"),
      "In parts of 2^-15, if results leave in 16 bits; else 0.");
  nb::exception<PlanError>(module, "PlanError", PyExc_ValueError);
  nb::exception<MemoryExceeded>(module, "MemoryExceeded", PyExc_MemoryError);
  nb::class_<PlanSession> session(module, "Session", "A plan's bytes, loaded and ready to run.");
  session.def(nb::init<const nb::bytes&, int, std::size_t, int>(), nb::arg("plan"), nb::arg("threads"),
              nb::arg("memory_limit"), nb::arg("chunks") = 0);
  session.def_prop_ro("threads", [](const PlanSession& self) { return self.session().threads(); });
  session.def("run", &run, nb::arg("inputs").noconvert(), nb::arg("outputs").noconvert(),
              "Run a batch: u8 arrays (batch, ...), inputs read, outputs written.");
  session.def(
      "choices",
      [](const PlanSession& self) {
        std::vector<std::pair<std::string, std::array<std::int32_t, 3>>> result;
        for (const Choices& choice : self.session().choices()) result.emplace_back(choice.operands, choice.ways);
        return result;
      },
      "Of each step: how it finds operands; tiles that leave by each way.");
  session.def(
      "stages", [](const PlanSession& self) { return self.session().stages(); },
      "Steps that threads compute side by side, stage by stage.");
  session.def(
      "memory", [](const PlanSession& self) { return self.memory(); },
      "Bytes: of a sample's tensors, as many samples as fit at once, of weights, of scratch in every thread.");
  session.def(
      "profile", [](const PlanSession& self) { return self.session().profile(); },
      "Nanoseconds of each step in the last run.");
  add_dynamic(module);
  add_floats(module);
}
