// Reads a whole plan: header, tensors, steps, ends. Every size is compared with the bytes that are there and with the
// limit on memory before anything is allocated; sums of sizes are computed in 64 bits and cannot wrap.
#include "plan/load.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/aligned.h"
#include "base/sizes.h"
#include "plan/checksum.h"

namespace oaq {
namespace {

constexpr std::string_view kMagic = "OAQPLAN1";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeader = 64;
constexpr std::size_t kChecked = 16;  // the checksum is of all bytes from here on
constexpr std::uint32_t kMostRank = 8;
constexpr std::int64_t kMostTensor = (std::int64_t{1} << 31) - 1;  // bytes, as oaq.program has it

struct Header {
  std::size_t arena, arrays;
  std::uint32_t tensors, inputs, outputs, steps;
};

struct Tensor {
  Description description;
  Place place;
};

struct Kind {
  std::uint32_t code;
  std::string_view family;
  Parse parse;
};

constexpr Kind kKinds[] = {
#define STEP(code, family) {code, #family, parse_##family},
#define VOLUMES(code, family) {code, #family, parse_##family##_volume},
#include "steps/steps.inc"
#undef VOLUMES
#undef STEP
};

std::string text(std::uint64_t value) { return std::to_string(value); }

Header read_header(std::span<const std::uint8_t> plan) {
  if (plan.size() < kHeader || std::memcmp(plan.data(), kMagic.data(), kMagic.size()))
    throw PlanError("these bytes are not a plan: they do not start as one");
  Arrays none(plan, plan.size());
  Cursor fields(plan.subspan(kMagic.size(), kHeader - kMagic.size()), none);
  const std::uint32_t version = fields.u32(), checksum = fields.u32();
  if (version != kVersion)
    throw PlanError("a plan of version " + text(version) + "; this library reads version " + text(kVersion));
  const std::uint64_t size = fields.u64(), arena = fields.u64(), arrays = fields.u64();
  if (size != plan.size())
    throw PlanError("a plan of " + text(size) + " bytes, of which " + text(plan.size()) + " are there");
  if (crc32(plan.subspan(kChecked)) != checksum) throw PlanError("the checksum differs: the plan is damaged");
  if (arena > static_cast<std::uint64_t>(kMostBytes))
    throw PlanError("an arena of " + text(arena) + " bytes is too large");
  if (arrays < kHeader || arrays > size)
    throw PlanError("arrays from byte " + text(arrays) + " on are outside the plan");
  Header header{static_cast<std::size_t>(arena),
                static_cast<std::size_t>(arrays),
                fields.u32(),
                fields.u32(),
                fields.u32(),
                fields.u32()};
  if (fields.u64()) throw PlanError("the last field of the header is not zero");
  return header;
}

// Missing leading axes are 1; more than two are taken together. A leading axis only repeats lines.
Place place_of(std::uint64_t offset, const std::vector<std::int32_t>& dims, const Header& header) {
  std::int64_t bytes = 1;
  for (const std::int32_t size : dims) {
    if (size < 1 || bytes > kMostTensor / size) throw PlanError("a tensor is empty or has more than 2^31 - 1 values");
    bytes *= size;
  }
  if (offset > header.arena || static_cast<std::size_t>(bytes) > header.arena - offset)
    throw PlanError("a tensor of " + text(static_cast<std::uint64_t>(bytes)) + " bytes at " + text(offset) +
                    " leaves the arena of " + text(header.arena) + " bytes");
  const std::size_t rank = dims.size();
  const std::int64_t channels = dims[rank - 1], width = rank > 1 ? dims[rank - 2] : 1;
  return {static_cast<std::size_t>(offset), bytes / channels / width, width, channels};
}

Tensor read_tensor(Cursor& fields, const Header& header) {
  Description description;
  const std::uint64_t offset = fields.u64();
  const std::uint32_t rank = fields.u32();
  if (rank < 1 || rank > kMostRank) throw PlanError("a tensor of rank " + text(rank) + "; ranks are 1 to 8");
  for (std::uint32_t axis = 0; axis < rank; ++axis) description.dims.push_back(fields.i32());
  description.scale = fields.f32();
  if (!std::isfinite(description.scale) || description.scale <= 0)
    throw PlanError("a scale is not finite and positive");
  description.zero_point = fields.i32();
  description.range = fields.clamp();
  try {
    check_output(description.zero_point, description.range);
  } catch (const std::invalid_argument& error) {
    throw PlanError(error.what());
  }
  description.name = fields.text();
  const Place place = place_of(offset, description.dims, header);
  description.bytes = place.bytes();
  return {std::move(description), place};
}

std::vector<Tensor> read_tensors(Cursor& records, const Header& header) {
  std::vector<Tensor> tensors;  // grows as the bytes do: a count alone takes no memory
  for (std::uint32_t i = 0; i < header.tensors; ++i) try {
      tensors.push_back(read_tensor(records, header));
    } catch (const PlanError& error) {
      throw PlanError("tensor " + text(i) + ": " + error.what());
    }
  return tensors;
}

const Tensor& tensor_at(const std::vector<Tensor>& tensors, std::uint32_t index) {
  if (index >= tensors.size()) throw PlanError("tensor " + text(index) + " is used; there are " + text(tensors.size()));
  return tensors[index];
}

// A place that a step reads or writes: vector code reads up to kSlack bytes past its end.
Place operand(const std::vector<Tensor>& tensors, std::uint32_t index, const Header& header) {
  const Place place = tensor_at(tensors, index).place;
  if (header.arena - place.offset - place.bytes() < kSlack)
    throw PlanError("tensor " + text(index) + " has fewer than 64 bytes of the arena behind it");
  return place;
}

// A step that reads what its threads write meanwhile would read either; what lies behind an input counts too.
void refuse_overlap(const StepRecord& record) {
  const std::size_t begin = record.y.offset, end = begin + record.y.bytes() + kSlack;
  for (const Place& x : record.x)
    if (x.offset < end && begin < x.offset + x.bytes() + kSlack) throw PlanError("the output overlaps an input");
}

struct NamedStep {
  std::unique_ptr<Step> step;
  Touched touched;
  std::string node;
};

NamedStep read_step(Cursor& records, const std::vector<Tensor>& tensors, const Header& header, Budget& memory) {
  const std::uint32_t code = records.u32(), length = records.u32();
  Cursor fields = records.part(length);
  const std::string row_name(fields.text()), node(fields.text());
  try {
    const auto* kind =
        std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return k.code == code; });
    if (kind == std::end(kKinds)) throw PlanError("there is no operator " + text(code));
    std::vector<Place> x;
    for (std::uint32_t count = fields.u32(); count > 0; --count) x.push_back(operand(tensors, fields.u32(), header));
    const Place y = operand(tensors, fields.u32(), header);
    StepRecord record{usable_row(row_name, kind->family), std::move(x), y, fields, memory};
    refuse_overlap(record);
    std::unique_ptr<Step> step = kind->parse(record);
    if (record.fields.size()) throw PlanError(text(record.fields.size()) + " bytes of the step are not read");
    return {std::move(step), {std::move(record.x), record.y}, node};
  } catch (const PlanError& error) {
    throw PlanError(node + ": the row " + row_name + " refuses it: " + error.what());
  } catch (const std::invalid_argument& error) {
    throw PlanError(node + ": the row " + row_name + " refuses it: " + error.what());
  }
}

// A number of bytes for people: "1.5 GiB".
std::string show(std::size_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::array<char, 32> line;
  static_cast<void>(std::snprintf(line.data(), line.size(), "%.3g %s", value, kUnits[unit]));
  return line.data();
}

struct Needs {
  std::size_t weights = 0, scratch = 0;
  std::string hungriest;  // the node that takes most scratch
};

// Whether so many arenas, weights and the scratch of so many threads are within the limit.
bool fits(const Needs& needs, std::size_t arena, std::size_t arenas, std::size_t threads, std::size_t limit) {
  if (arena > limit / arenas || needs.weights > limit - arena * arenas) return false;
  return needs.scratch <= (limit - arena * arenas - needs.weights) / threads;
}

void require_room(const Needs& needs, std::size_t arena, std::size_t threads, std::size_t limit) {
  if (fits(needs, arena, 1, threads, limit)) return;
  const std::size_t total = arena + needs.weights + needs.scratch * threads;
  std::string largest = needs.scratch ? ", which '" + needs.hungriest + "' takes" : "";
  throw MemoryExceeded("a session of " + text(threads) + " threads (" + show(arena) + " of tensors, " +
                       show(needs.weights) + " of weights, and in each thread " + show(needs.scratch) + " of scratch" +
                       largest + ") needs " + text(total) + " bytes (" + show(total) + "), more than the limit of " +
                       text(limit) + " (" + show(limit) + ")");
}

std::vector<std::uint32_t> read_indices(Cursor& records, std::uint32_t count) {
  std::vector<std::uint32_t> indices;
  for (std::uint32_t i = 0; i < count; ++i) indices.push_back(records.u32());
  return indices;
}

}  // namespace

LoadedPlan load_plan(std::span<const std::uint8_t> plan, int threads, std::size_t limit, int chunks) {
  if (threads < 1 || threads > kMostThreads)
    throw std::invalid_argument("threads is 1 to 256, not " + std::to_string(threads));
  const Header header = read_header(plan);
  const auto thread_count = static_cast<std::size_t>(threads);
  Needs needs;
  require_room(needs, header.arena, thread_count, limit);
  Budget memory(limit);
  memory.take(header.arena, "the arena");
  Arrays arrays(plan, header.arrays);
  Cursor records(plan.subspan(kHeader, header.arrays - kHeader), arrays);
  std::vector<Tensor> tensors = read_tensors(records, header);
  const std::vector<std::uint32_t> inputs = read_indices(records, header.inputs);
  const std::vector<std::uint32_t> outputs = read_indices(records, header.outputs);
  std::vector<NamedStep> steps;
  for (std::uint32_t i = 0; i < header.steps; ++i) {
    NamedStep named = read_step(records, tensors, header, memory);
    needs.weights += named.step->weight_bytes();
    if (named.step->scratch_bytes() > needs.scratch) {
      needs.scratch = named.step->scratch_bytes();
      needs.hungriest = named.node;
    }
    require_room(needs, header.arena, thread_count, limit);
    steps.push_back(std::move(named));
  }
  if (records.size() >= kLine) throw PlanError(text(records.size()) + " bytes of records are not read");
  std::vector<Place> from, to;
  for (const std::uint32_t index : inputs) from.push_back(tensor_at(tensors, index).place);
  for (const std::uint32_t index : outputs) to.push_back(tensor_at(tensors, index).place);
  // An arena for each thread lets them compute whole samples; where the limit does not allow that, they share one.
  const int arenas = fits(needs, header.arena, thread_count, thread_count, limit) ? threads : 1;
  LoadedPlan loaded{std::make_unique<Session>(header.arena, threads, arenas, chunks),
                    {},
                    inputs,
                    outputs,
                    header.arena,
                    static_cast<std::size_t>(arenas),
                    needs.weights,
                    needs.scratch};
  for (NamedStep& named : steps) loaded.session->add(std::move(named.step), std::move(named.touched));
  for (Tensor& tensor : tensors) loaded.tensors.push_back(std::move(tensor.description));
  loaded.session->finish(from, to);
  loaded.weights -= loaded.session->shared_weight_bytes();
  return loaded;
}

}  // namespace oaq
