// Runs the loops that take and give reals, one call after another: what tests run under an emulator of another CPU,
// where no Python is. A line of standard input for each call, its fields between tabs; files hold numbers of 32 bits
// or, of integers of tensors, of 8. Prints "ok", or "nan" where quantize met one.
//
//   quantize    instruction set, reals, integers, channels, pixels, scale, zero point, lo, hi
//   dequantize  instruction set, integers, reals, channels, pixels, scale, zero point
//   extremes    instruction set, reals, both ends
//   leave       instruction set, numbers, reals, rows, tile, columns, which of row zeros, weight zeros, biases (1, 2,
//   4)
//               numbers: sums, then of rows their scales, zeros, excesses, then of outputs their sums of weights,
//               zeros, scales, biases
//   gelu        instruction set, numbers, reals, rows, width; numbers: x, then a factor of each column
//   normalize   instruction set, numbers, reals, rows, width; numbers: x, what is added, gain, bias
//   attend      instruction set, numbers, reals, rows, keys, depth, width; numbers: q, k, v, shift
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "dynamic/loops.h"
#include "floats/loops.h"
#include "steps/quantize.h"

namespace {

using Fields = std::vector<std::string>;

template <typename T>
std::vector<T> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

template <typename T>
void write(const std::string& path, const T* values, std::size_t count) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values), static_cast<std::streamsize>(count * sizeof(T)));
}

std::int64_t integer(const std::string& field) { return std::strtoll(field.c_str(), nullptr, 10); }
float real(const std::string& field) { return std::strtof(field.c_str(), nullptr); }

bool quantize(oaq::Isa isa, const Fields& of) {
  const std::vector<float> reals = read<float>(of[2]);
  const oaq::InputScale scale{real(of[6]),
                              static_cast<int>(integer(of[7])),
                              {static_cast<int>(integer(of[8])), static_cast<int>(integer(of[9]))}};
  std::vector<std::uint8_t> integers(reals.size());
  const bool is_complete = oaq::quantize(reals.data(), integer(of[4]), integer(of[5]), scale, integers.data(), isa);
  write(of[3], integers.data(), integers.size());
  return is_complete;
}

void dequantize(oaq::Isa isa, const Fields& of) {
  const std::vector<std::uint8_t> integers = read<std::uint8_t>(of[2]);
  std::vector<float> reals(integers.size());
  oaq::dequantize(integers.data(), integer(of[4]), integer(of[5]), real(of[6]), static_cast<int>(integer(of[7])),
                  reals.data(), isa);
  write(of[3], reals.data(), reals.size());
}

void extremes(oaq::Isa isa, const Fields& of) {
  const std::vector<float> reals = read<float>(of[2]);
  const oaq::Extremes ends = oaq::dynamic_loops(isa).extremes(reals.data(), static_cast<std::int64_t>(reals.size()));
  const float both[] = {ends.least, ends.most};
  write(of[3], both, 2);
}

void leave(oaq::Isa isa, const Fields& of) {
  const std::vector<std::int32_t> numbers = read<std::int32_t>(of[2]);
  const std::int64_t rows = integer(of[4]), tile = integer(of[5]), columns = integer(of[6]), which = integer(of[7]);
  const std::int32_t* at = numbers.data();
  const auto next = [&](std::int64_t count) {
    const std::int32_t* part = at;
    at += count;
    return part;
  };
  const auto floats = [](const std::int32_t* bits) { return reinterpret_cast<const float*>(bits); };
  oaq::LeaveCall call{};
  call.sums = next(rows * tile);
  call.tile_n = tile, call.rows = rows, call.columns = columns, call.y_stride = columns;
  call.row_scale = floats(next(rows));
  const std::int32_t *row_zero = next(rows), *excess = next(rows);
  call.column_sum = next(tile);
  const std::int32_t* weight_zero = next(tile);
  call.scale = floats(next(tile));
  const float* bias = floats(next(tile));
  if (which & 1) call.row_zero = row_zero;
  if (which & 2) call.row_excess = excess, call.weight_zero = weight_zero;
  if (which & 4) call.bias = bias;
  std::vector<float> y(static_cast<std::size_t>(rows * columns));
  call.y = y.data();
  oaq::dynamic_loops(isa).leave(call);
  write(of[3], y.data(), y.size());
}

void gelu(oaq::Isa isa, const Fields& of) {
  const std::vector<float> numbers = read<float>(of[2]);
  const std::int64_t rows = integer(of[4]), width = integer(of[5]);
  std::vector<float> y(static_cast<std::size_t>(rows * width));
  oaq::float_loops(isa).gelu({numbers.data(), rows, width, numbers.data() + rows * width, y.data()});
  write(of[3], y.data(), y.size());
}

void normalize(oaq::Isa isa, const Fields& of) {
  const std::vector<float> numbers = read<float>(of[2]);
  const std::int64_t rows = integer(of[4]), width = integer(of[5]);
  std::vector<float> y(static_cast<std::size_t>(rows * width));
  oaq::NormalizeCall call{};
  call.x = numbers.data(), call.other = call.x + rows * width;
  call.gain = call.other + rows * width, call.bias = call.gain + width;
  call.epsilon = 1e-5f, call.rows = rows, call.width = width, call.y = y.data();
  oaq::float_loops(isa).normalize(call);
  write(of[3], y.data(), y.size());
}

void attend(oaq::Isa isa, const Fields& of) {
  const std::vector<float> numbers = read<float>(of[2]);
  oaq::AttendCall call{};
  call.rows = integer(of[4]), call.keys = integer(of[5]), call.depth = integer(of[6]), call.width = integer(of[7]);
  call.q = numbers.data(), call.k = call.q + call.rows * call.depth, call.v = call.k + call.keys * call.depth;
  call.q_stride = call.k_stride = static_cast<std::ptrdiff_t>(call.depth);
  call.v_stride = call.y_stride = static_cast<std::ptrdiff_t>(call.width);
  call.shift = call.v + call.keys * call.width, call.shift_row = static_cast<std::ptrdiff_t>(call.keys);
  call.shift_varies = true, call.scale = 0.5f;
  const oaq::FloatLoops& loops = oaq::float_loops(isa);
  std::vector<float> y(static_cast<std::size_t>(call.rows * call.width)),
      scratch(static_cast<std::size_t>(loops.scratch(call)));
  call.y = y.data(), call.scratch = scratch.data();
  loops.attend(call);
  write(of[3], y.data(), y.size());
}

const oaq::InstructionSet* set_named(const std::string& name) {
  for (const oaq::InstructionSet& set : oaq::instruction_sets())
    if (set.name == name && oaq::runs(set.isa)) return &set;
  return nullptr;
}

bool run(const Fields& of) {  // false: no such call
  const oaq::InstructionSet* set = of.size() > 3 ? set_named(of[1]) : nullptr;
  if (!set) return false;
  bool is_complete = true;
  if (of[0] == "quantize" && of.size() == 10)
    is_complete = quantize(set->isa, of);
  else if (of[0] == "dequantize" && of.size() == 8)
    dequantize(set->isa, of);
  else if (of[0] == "extremes" && of.size() == 4)
    extremes(set->isa, of);
  else if (of[0] == "leave" && of.size() == 8)
    leave(set->isa, of);
  else if (of[0] == "gelu" && of.size() == 6)
    gelu(set->isa, of);
  else if (of[0] == "normalize" && of.size() == 6)
    normalize(set->isa, of);
  else if (of[0] == "attend" && of.size() == 8)
    attend(set->isa, of);
  else
    return false;
  std::cout << (is_complete ? "ok" : "nan") << std::endl;
  return true;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    Fields fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, '\t');) fields.push_back(field);
    if (!run(fields)) {
      std::fprintf(stderr, "run_reals: there is no such call on this CPU: %s\n", line.c_str());
      return 2;
    }
  }
  return 0;
}
