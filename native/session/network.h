// What the runs of a session share: steps, memory, times.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "session/arena.h"
#include "step.h"

namespace oaq {

struct Network {
  using Clock = std::chrono::steady_clock;

  std::vector<std::unique_ptr<Step>> steps;
  std::vector<Place> inputs, outputs;            // that callers fill and read
  std::vector<std::unique_ptr<Arena>> arenas;    // of every thread, or a single one, which threads share
  std::optional<Arena> weights;                  // of all steps
  AlignedVector<std::uint8_t> scratch;           // of all threads
  std::size_t scratch_bytes = 0;                 // of one thread
  Isas isas = 0;                                 // of all steps
  std::vector<std::int64_t> nanoseconds;         // of each step in the last run
  std::vector<std::atomic<std::int64_t>> spent;  // by threads on each step, since times were last shared out

  // Computes a chunk of a step in an arena, with a thread's scratch.
  void compute(std::uint32_t step, int chunk, int chunks, const Arena& arena, int thread) {
    steps[step]->run(arena.data(), scratch.data() + scratch_bytes * static_cast<std::size_t>(thread), chunk, chunks);
  }

  // Adds the time since `begin` to what was spent on a step; returns the time now.
  Clock::time_point add_time(std::uint32_t step, Clock::time_point begin);

  // Shares out time that passed while threads computed these steps, by what they have spent on each.
  void share_out(Clock::duration passed, std::span<const std::uint32_t> computed);
};

// The caller's arrays, for each input and output one, samples one after another.
struct Ends {
  std::span<const std::uint8_t* const> inputs;
  std::span<std::uint8_t* const> outputs;

  void copy_in(const Network& network, std::int64_t sample, const Arena& arena) const;
  void copy_out(const Network& network, std::int64_t sample, const Arena& arena) const;
};

}  // namespace oaq
