// Plans with hostile bytes: mutates real ones, loads what comes out, and runs what loads. Built for AddressSanitizer
// and UndefinedBehaviorSanitizer, which end the process at the first access or value that is not allowed.
//
//   fuzz_plans FIRST COUNT SEED PLAN...    cases FIRST to FIRST + COUNT - 1; prints how many loaded, were
//                                        refused, exceeded the limit, ran, and milliseconds of CPU
//
// Case i of a seed is a function of both and of the plans. A failing run prints i: FIRST i, COUNT 1 replays it.
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "plan/checksum.h"
#include "plan/load.h"

namespace {

using Bytes = std::vector<std::uint8_t>;
using Random = std::mt19937_64;

constexpr std::size_t kHeader = 64, kChecked = 16;
// Of memory, in bytes. Little is enough for most plans, and quick to run; some cases may take more.
constexpr std::size_t kLimit = std::size_t{128} << 10, kLargeLimit = std::size_t{4} << 20;
constexpr std::uint64_t kOneInLarge = 2;    // cases with the large limit
constexpr std::uint64_t kOneInThreads = 8;  // cases with three threads, which take longest to start
constexpr unsigned kSeconds = 120;          // for one case: a session that never ends is a fault too
constexpr std::uint32_t kNumbers[] = {0,          1,           2,           3,           4,
                                      8,          9,           16,          31,          32,
                                      62,         63,          64,          127,         128,
                                      255,        256,         1024,        32767,       32768,
                                      65535,      65536,       1U << 24,    1U << 30,    0x7FFFFFFFU,
                                      1U << 31,   0xFFFFFF00U, 0xFFFFFFFEU, 0xFFFFFFFFU, 0x7F800000U /* infinity */,
                                      0x7FC00000U /* NaN */};

struct Counts {
  std::uint64_t loaded = 0, refused = 0, exceeded = 0, ran = 0;
};

std::uint64_t case_number = 0;

extern "C" void say_case(int) {
  char line[80];
  const int size =
      std::snprintf(line, sizeof line, "case %" PRIu64 " takes more than %u seconds\n", case_number, kSeconds);
  static_cast<void>(!::write(2, line, static_cast<std::size_t>(size)));
  std::_Exit(3);
}

std::size_t below(Random& random, std::size_t end) { return end ? static_cast<std::size_t>(random() % end) : 0; }

template <typename T>
T get(const Bytes& plan, std::size_t at) {
  T value{};
  if (at <= plan.size() && sizeof value <= plan.size() - at) std::memcpy(&value, plan.data() + at, sizeof value);
  return value;
}

template <typename T>
void put(Bytes& plan, std::size_t at, T value) {
  if (at <= plan.size() && sizeof value <= plan.size() - at) std::memcpy(plan.data() + at, &value, sizeof value);
}

// Every number of header and records lies on a multiple of four: one of them becomes another.
void change_field(Bytes& plan, Random& random, std::size_t arrays) {
  const std::size_t words = arrays / 4, at = 4 * below(random, words);
  const auto old = get<std::uint32_t>(plan, at);
  switch (below(random, 6)) {
    case 0:
      return put(plan, at, kNumbers[below(random, std::size(kNumbers))]);
    case 1:
      return put(plan, at, old + 1);
    case 2:
      return put(plan, at, old - 1);
    case 3:
      return put(plan, at, get<std::uint32_t>(plan, 4 * below(random, words)));
    case 4:
      return put(plan, at, old * 2);
    default:
      return put(plan, at, old ^ 1U << below(random, 32));
  }
}

// A number of an array: segments, multipliers, shifts, biases, tables, weights.
void change_array(Bytes& plan, Random& random, std::size_t arrays) {
  if (arrays >= plan.size()) return;
  const std::size_t at = arrays + 4 * below(random, (plan.size() - arrays) / 4);
  const auto old = get<std::uint32_t>(plan, at);
  const std::uint32_t values[] = {old + 1, old - 1, old * 2, kNumbers[below(random, std::size(kNumbers))]};
  put(plan, at, values[below(random, std::size(values))]);
}

void change_size(Bytes& plan, Random& random) {
  if (random() % 2)
    plan.resize(below(random, plan.size()));
  else
    plan.insert(plan.end(), 1 + below(random, 200), static_cast<std::uint8_t>(random()));
  if (random() % 4) put<std::uint64_t>(plan, 16, plan.size());
}

void mutate(Bytes& plan, Random& random) {
  const std::size_t arrays = std::min<std::size_t>(get<std::uint64_t>(plan, 32), plan.size());
  for (std::size_t times = 1 + below(random, 4); times > 0 && !plan.empty(); --times) {
    const std::size_t choice = below(random, 20);
    if (choice < 13)
      change_field(plan, random, arrays);
    else if (choice < 16)
      change_array(plan, random, arrays);
    else if (choice < 18)
      plan[below(random, plan.size())] ^= static_cast<std::uint8_t>(1U << below(random, 8));
    else if (choice < 19)  // part of it again, elsewhere
      for (std::size_t from = 4 * below(random, plan.size() / 4), to = 4 * below(random, plan.size() / 4), i = 0;
           i < 4 * (1 + below(random, 16)); i += 4)
        put(plan, to + i, get<std::uint32_t>(plan, from + i));
    else
      change_size(plan, random);
  }
  if (plan.size() > kHeader && random() % 32)  // damage would be found by the checksum alone
    put(plan, 12, oaq::crc32(std::span<const std::uint8_t>(plan).subspan(kChecked)));
}

// Runs two samples of any integers, in arrays no larger than needed.
void run(oaq::LoadedPlan& plan, Random& random) {
  std::vector<Bytes> inputs, outputs;
  std::vector<const std::uint8_t*> from;
  std::vector<std::uint8_t*> to;
  for (const std::uint32_t index : plan.inputs) {
    Bytes& values = inputs.emplace_back(2 * plan.tensors[index].bytes);
    for (std::size_t at = 0; at < values.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t eight = random();
      std::memcpy(values.data() + at, &eight, std::min(sizeof eight, values.size() - at));
    }
  }
  for (const std::uint32_t index : plan.outputs) outputs.emplace_back(2 * plan.tensors[index].bytes);
  for (const Bytes& values : inputs) from.push_back(values.data());
  for (Bytes& values : outputs) to.push_back(values.data());
  plan.session->run(2, from, to);
}

void try_case(const std::vector<Bytes>& plans, std::uint64_t seed, Counts& counts) {
  Random random((seed << 32) + case_number);
  const Bytes& original = plans[below(random, plans.size())];
  Bytes plan = original;
  mutate(plan, random);
  const Bytes exact(plan);  // no room behind it
  const std::size_t limit = random() % kOneInLarge ? kLimit : kLargeLimit;
  ::alarm(kSeconds);
  try {
    oaq::LoadedPlan loaded = oaq::load_plan(exact, random() % kOneInThreads ? 1 : 3, limit);
    ++counts.loaded;
    std::size_t callers = 0;
    for (const auto* list : {&loaded.inputs, &loaded.outputs})
      for (const std::uint32_t index : *list) callers += loaded.tensors[index].bytes;
    if (callers > limit) return;
    run(loaded, random);
    ++counts.ran;
  } catch (const oaq::PlanError&) {
    ++counts.refused;
  } catch (const oaq::MemoryExceeded&) {
    ++counts.exceeded;
  } catch (const std::bad_alloc&) {
    ++counts.exceeded;
  }
}

Bytes read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot read ") + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

// The sanitizer's last words name the case.
extern "C" void __asan_on_error() { std::fprintf(stderr, "case %" PRIu64 "\n", case_number); }

int main(int count, char** arguments) {
  if (count < 5) {
    std::fprintf(stderr, "fuzz_plans FIRST COUNT SEED PLAN...\n");
    return 2;
  }
  static_cast<void>(::signal(SIGALRM, say_case));
  std::vector<Bytes> plans;
  for (int i = 4; i < count; ++i) plans.push_back(read_file(arguments[i]));
  Counts counts;
  const std::uint64_t first = std::strtoull(arguments[1], nullptr, 10);
  const std::uint64_t cases = std::strtoull(arguments[2], nullptr, 10);
  const std::uint64_t seed = std::strtoull(arguments[3], nullptr, 10);
  for (case_number = first; case_number < first + cases; ++case_number) try_case(plans, seed, counts);
  const auto milliseconds = static_cast<std::uint64_t>(std::clock()) / (CLOCKS_PER_SEC / 1000);
  std::printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", counts.loaded, counts.refused,
              counts.exceeded, counts.ran, milliseconds);
  return 0;
}
