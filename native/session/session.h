// A network ready to run: steps in order, one arena, a pool of threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "session/arena.h"
#include "step.h"

namespace oaq {

inline constexpr int kMostThreads = 256;

class Session : private Work {
 public:
  // Throws std::invalid_argument: more than 2^40 bytes, or threads outside [1, 256].
  Session(std::size_t arena_bytes, int threads);

  // Appends a step. Throws std::invalid_argument after `finish`.
  void add(std::unique_ptr<Step> step);

  // No more steps; names the tensors that callers fill and read, which lie inside the arena.
  void finish(const std::vector<Place>& inputs, const std::vector<Place>& outputs);

  // Runs `batch` samples; inputs and outputs as given to `finish`, samples one after another. Allocates nothing.
  // Throws std::logic_error before `finish`. Between samples, and no more often than every 50 milliseconds, it asks
  // `stop(context)` whether to go on, and returns false if not: what outputs hold is then of no use.
  bool run(std::int64_t batch, std::span<const std::uint8_t* const> inputs, std::span<std::uint8_t* const> outputs,
           bool (*stop)(void*) = nullptr, void* context = nullptr);

  const std::vector<Place>& inputs() const { return inputs_; }
  const std::vector<Place>& outputs() const { return outputs_; }
  bool finished() const { return finished_; }

  int threads() const { return threads_.count(); }

  std::vector<Choices> choices() const;

  // Nanoseconds of each step in the last run, all samples together.
  const std::vector<std::int64_t>& profile() const { return nanoseconds_; }

 private:
  std::uint32_t stages() const override { return static_cast<std::uint32_t>(steps_.size()); }
  int chunks(std::uint32_t stage) const override { return chunks_[stage]; }
  void compute(std::uint32_t stage, int chunk, int chunks, int thread) override;
  void complete(std::uint32_t stage) override;
  Isas isas() const override { return isas_; }

  void gather_weights();

  Arena arena_;
  std::optional<Arena> weights_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Place> inputs_, outputs_;
  std::vector<int> chunks_;  // of each step
  std::vector<std::int64_t> nanoseconds_;
  std::chrono::steady_clock::time_point completed_{};  // the step before
  AlignedVector<std::uint8_t> scratch_;
  std::size_t scratch_bytes_ = 0;
  Isas isas_ = 0;  // of all steps
  bool finished_ = false;
  Threads threads_;
};

}  // namespace oaq
