// A network ready to run: steps in order, an arena for each thread, threads that the sessions of a process share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/shared_threads.h"
#include "session/network.h"
#include "session/samples.h"
#include "session/stages.h"
#include "step.h"

namespace oaq {

inline constexpr int kMostThreads = 256;

class Session {
 public:
  // `arenas`: one, or as many as threads, which then compute whole samples where a batch holds enough of them. Memory
  // of an arena is taken when it is first used. `chunks`: in how many threads share a step; 0: as many as suit it.
  // Throws std::invalid_argument: more than 2^40 bytes, threads outside [1, 256], other arenas, chunks outside
  // [0, 4096].
  Session(std::size_t arena_bytes, int threads, int arenas, int chunks);

  // Appends a step. Throws std::invalid_argument after `finish`.
  void add(std::unique_ptr<Step> step, Touched touched);

  // No more steps; names the tensors that callers fill and read, which lie inside the arena.
  void finish(const std::vector<Place>& inputs, const std::vector<Place>& outputs);

  // Runs `batch` samples; inputs and outputs as given to `finish`, samples one after another. Allocates nothing, but
  // for threads where runs of several sessions meet for the first time. Throws std::logic_error before `finish`.
  // Between samples, and no more often than every 50 milliseconds, it asks `stop(context)` in the caller's thread
  // whether to stop, and then returns false: what outputs hold is of no use.
  bool run(std::int64_t batch, std::span<const std::uint8_t* const> inputs, std::span<std::uint8_t* const> outputs,
           bool (*stop)(void*) = nullptr, void* context = nullptr);

  const std::vector<Place>& inputs() const { return network_.inputs; }
  const std::vector<Place>& outputs() const { return network_.outputs; }
  bool finished() const { return stages_.has_value(); }

  int threads() const { return threads_->count(); }

  // Bytes of weights that steps do not have twice, since `finish`.
  std::size_t shared_weight_bytes() const { return shared_bytes_; }

  std::vector<Choices> choices() const;

  // Steps that are computed side by side, stage by stage.
  std::vector<std::vector<std::uint32_t>> stages() const;

  // Nanoseconds of each step in the last run, all samples together; where several were computed side by side, the time
  // that passed, shared out by what threads have spent on each.
  const std::vector<std::int64_t>& profile() const { return network_.nanoseconds; }

 private:
  void gather_weights();
  bool run_whole(std::int64_t samples, const Ends& ends, Question& question);

  Network network_;
  std::size_t shared_bytes_ = 0;  // of weights that an earlier step has
  int chunks_;
  std::vector<Touched> touched_;    // by each step
  std::vector<std::uint32_t> all_;  // steps
  std::optional<Stages> stages_;    // once it is finished
  std::shared_ptr<SharedThreads> threads_;
};

}  // namespace oaq
