// Whole samples of a batch, each computed by one thread in an arena of its own: threads meet once, at the end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/work.h"
#include "session/network.h"

namespace oaq {

// What the caller says between samples, asked no more often than every 50 milliseconds, always by its own thread.
class Question {
 public:
  // stop(context) says whether to stop; null: never.
  Question(bool (*stop)(void*), void* context) : stop_(stop), context_(context), last_asked_(Clock::now()) {}

  bool is_stopped();

 private:
  using Clock = std::chrono::steady_clock;
  bool (*stop_)(void*);
  void* context_;
  Clock::time_point last_asked_;
};

class WholeSamples : public Work {
 public:
  // The first `samples` of a batch; at least one. As many arenas as threads are needed.
  WholeSamples(Network& network, const Ends& ends, std::int64_t samples, Question& question)
      : network_(network), ends_(ends), samples_(samples), question_(question) {}

  // Whether the caller has stopped the run before its end.
  bool is_stopped() const { return stopped_.load(std::memory_order_relaxed); }

  std::uint32_t stages() const override { return 1; }
  int chunks(std::uint32_t stage) const override;
  void compute(std::uint32_t stage, int chunk, int chunks, int thread) override;
  void complete(std::uint32_t) override {}
  Isas isas() const override { return network_.isas; }

 private:
  Network& network_;
  const Ends& ends_;
  std::int64_t samples_;
  Question& question_;
  std::atomic<bool> stopped_{false};
};

// How many of a batch threads compute as whole samples, before they share those that remain: as many for each thread,
// or all if those that remain are nearly as many as threads.
std::int64_t whole_samples(std::int64_t batch, int threads);

}  // namespace oaq
