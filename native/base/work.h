// What is computed in one run: stages in order, each of chunks that may be computed side by side.
#pragma once

#include <cstdint>

#include "base/isa.h"

namespace oaq {

inline constexpr int kMostChunks = 4096;  // of a stage

// What is computed in one run. Functions must not throw.
class Work {
 public:
  Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  virtual ~Work() = default;

  virtual std::uint32_t stages() const = 0;

  // Chunks of a stage, 1 to kMostChunks, in which several threads compute it.
  virtual int chunks(std::uint32_t stage) const = 0;

  // One chunk of `chunks`; which thread computes it changes no result. A thread computes one chunk at a time.
  virtual void compute(std::uint32_t stage, int chunk, int chunks, int thread) = 0;

  // All chunks of the stage are computed, and none of the next is begun. Called by one thread at a time.
  virtual void complete(std::uint32_t stage) = 0;

  // The instruction sets it uses.
  virtual Isas isas() const = 0;
};

// Where the share of a thread begins among the chunks of a stage; it ends where the next begins. The first threads have
// a chunk each where there are fewer chunks than threads.
constexpr int share_begin(int chunks, int thread, int threads) {
  if (chunks < threads) return thread < chunks ? thread : chunks;
  return static_cast<int>(std::int64_t{chunks} * thread / threads);
}

// Computes all stages in order in the calling thread.
void run_alone(Work& work);

}  // namespace oaq
