// Runs plans by oaq.h, one after another: what tests run under an emulator of another CPU, so that it starts once.
//
//   run_plans          a line of standard input for each case, its fields between tabs:
//                        plan, inputs, outputs (paths), batch, threads, runs
//                      inputs hold all inputs one after another, outputs likewise; prints "ok", or "failed" and why
//   run_plans --rows   the table of rows, a line each, its fields between tabs
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "base/table.h"
#include "front/c/oaq.h"

namespace {

struct Case {
  std::string plan, inputs, outputs;
  std::size_t batch;
  int threads;
  long runs;
};

using Bytes = std::vector<std::uint8_t>;

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Where each tensor of a batch begins among all of them; false if there are not so many bytes.
template <typename Pointer, typename Describe>
bool spread(std::size_t count, std::size_t batch, Bytes& bytes, Describe describe, bool grows,
            std::vector<Pointer>& to) {
  std::size_t size = 0;
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < count; ++i) {
    oaq_tensor tensor;
    if (describe(i, &tensor) != OAQ_OK) return false;
    begins.push_back(size);
    size += batch * tensor.bytes;
  }
  if (grows) bytes.resize(size);
  if (bytes.size() != size) return false;
  for (const std::size_t begin : begins) to.push_back(bytes.data() + begin);
  return true;
}

// Null, or why it failed.
const char* run(const Case& of, oaq_session* session) {
  Bytes x = read_file(of.inputs), y;
  std::vector<const std::uint8_t*> inputs;
  std::vector<std::uint8_t*> outputs;
  const auto input = [&](std::size_t i, oaq_tensor* to) { return oaq_describe_input(session, i, to); };
  const auto output = [&](std::size_t i, oaq_tensor* to) { return oaq_describe_output(session, i, to); };
  if (!spread(oaq_input_count(session), of.batch, x, input, false, inputs)) return "the inputs have another size";
  if (!spread(oaq_output_count(session), of.batch, y, output, true, outputs)) return "the outputs have no size";
  for (long i = 0; i < of.runs; ++i)
    if (oaq_run(session, inputs.data(), outputs.data(), of.batch) != OAQ_OK) return oaq_error();
  std::ofstream file(of.outputs, std::ios::binary);
  file.write(reinterpret_cast<const char*>(y.data()), static_cast<std::streamsize>(y.size()));
  return file.flush() ? nullptr : "the outputs cannot be written";
}

const char* load_and_run(const Case& of) {
  const Bytes plan = read_file(of.plan);
  const oaq_options options{of.threads, 0};
  oaq_session* session = nullptr;
  if (oaq_load(plan.data(), plan.size(), &options, &session) != OAQ_OK) return oaq_error();
  const char* failure = run(of, session);
  oaq_free(session);
  return failure;
}

bool parse(const std::string& line, Case& to) {
  std::istringstream fields(line);
  std::string batch, threads, runs;
  for (std::string* field : {&to.plan, &to.inputs, &to.outputs, &batch, &threads, &runs})
    if (!std::getline(fields, *field, '\t')) return false;
  to.batch = std::strtoul(batch.c_str(), nullptr, 10);
  to.threads = std::atoi(threads.c_str());
  to.runs = std::atol(runs.c_str());
  return true;
}

void print_row(const oaq::Row& row) {
  const oaq::Register& sums = row.sums;
  std::cout << row.name << '\t' << row.family << '\t' << oaq::name_of(row.isa) << '\t' << row.tile_m << '\t'
            << row.tile_n << '\t' << row.parts << '\t' << row.x.shift << '\t' << row.x.range.lo << '\t'
            << row.x.range.hi << '\t' << sums.bits << '\t' << oaq::name_of(sums.overflow) << '\t' << sums.step << '\t'
            << sums.group << '\t' << oaq::name_of(sums.group_overflow) << '\t' << sums.lanes << '\t' << sums.max_run
            << '\t' << oaq::runs(row.isa) << '\n';
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && std::string(arguments[1]) == "--rows") {
    for (const oaq::Row& row : oaq::rows()) print_row(row);
    return 0;
  }
  for (std::string line; std::getline(std::cin, line);) {
    Case of;
    if (!parse(line, of)) {
      std::fprintf(stderr, "run_plans: a case is plan, inputs, outputs, batch, threads, runs: %s\n", line.c_str());
      return 2;
    }
    const char* failure = load_and_run(of);
    std::cout << (failure ? std::string("failed ") + failure : std::string("ok")) << std::endl;
  }
  return 0;
}
