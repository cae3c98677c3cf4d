// What a page needs beside oaq.h: inputs of signatures, times of steps. Exported by name; web/src/oaq.js calls it.
#include <cstdint>
#include <vector>

#include "base/table.h"
#include "front/c/oaq.h"
#include "front/c/session.h"

#define OAQ_EXPORT(name) __attribute__((export_name(#name)))

namespace {

// Output `index` of SplitMix64 seeded with 0 (Steele, Lea, Flood 2014), as oaq.reference.inputs has it.
std::uint64_t splitmix64(std::uint64_t index) {
  std::uint64_t state = (index + 1) * 0x9E3779B97F4A7C15u;
  state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
  state = (state ^ (state >> 27)) * 0x94D049BB133111EBu;
  return state ^ (state >> 31);
}

}  // namespace

extern "C" {

// Fills `count` bytes with the integers in [lo, hi] that words `start` and on of the fixed stream stand for.
OAQ_EXPORT(oaq_web_fill)
void oaq_web_fill(std::uint8_t* to, std::uint32_t count, std::uint32_t start, std::uint32_t lo, std::uint32_t hi) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t word = splitmix64(std::uint64_t{start} + i) >> 32;
    to[i] = static_cast<std::uint8_t>(lo + (word * (std::uint64_t{hi} - lo + 1) >> 32));
  }
}

// Milliseconds of each step in the last run, `count` at most; returns how many steps there are.
OAQ_EXPORT(oaq_web_profile)
std::uint32_t oaq_web_profile(const oaq_session* session, double* to, std::uint32_t count) {
  const std::vector<std::int64_t>& steps = session->plan.session->profile();
  for (std::uint32_t i = 0; i < count && i < steps.size(); ++i) to[i] = static_cast<double>(steps[i]) / 1e6;
  return static_cast<std::uint32_t>(steps.size());
}

// Row `index` of the table: its name, ended by a zero, at most `room` bytes of it; returns how many rows there are.
OAQ_EXPORT(oaq_web_row)
std::uint32_t oaq_web_row(std::uint32_t index, char* to, std::uint32_t room) {
  const auto rows = oaq::rows();
  if (index < rows.size() && room) {
    const std::size_t length = rows[index].name.copy(to, room - 1);
    to[length] = 0;
  }
  return static_cast<std::uint32_t>(rows.size());
}

}  // extern "C"
