// A pool of threads that compute the stages of a run together, chunk by chunk.
//
// Every thread has a share of the chunks of a stage, the same part of the output in each stage, so that it finds in its
// caches what it wrote before. It claims them one by one, and when they are gone, those of the others: one thread
// computes everything if the others get no CPU. A stage begins when all chunks of the one before are computed; one of a
// single chunk is computed by the thread that finds it next. What is waited for is a chunk under way, never a thread;
// and if even that takes much of a run, because threads lose their CPUs in the middle of chunks or share one CPU, the
// caller computes alone for a while.
//
// A process that forks keeps the memory of its threads, not the threads: a child starts its own before its first run.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/helper_threads.h"
#include "base/work.h"

namespace oaq {

class Threads {
 public:
  // Throws std::runtime_error: the system does not start so many.
  explicit Threads(int count);
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads();

  int count() const { return count_; }

  // Chunks that a thread has computed, of all runs but those computed alone. Stages of one chunk count for nobody.
  std::uint32_t computed(int thread) const;

  // Computes all stages in order. Neither locks nor allocates, but for the first run of a forked child; where the
  // system gives it no threads, the caller computes alone. One caller at a time.
  void run(Work& work);

 private:
  using Clock = std::chrono::steady_clock;

  // What may be claimed of one thread's share, in one word, so that a claim needs nothing else: the stage, counted over
  // all runs; the next chunk; the end of the share. More may be asked for than there are.
  struct Claim {
    std::uint32_t stage;
    std::uint16_t end;
    std::uint16_t next;
    bool is_chunk() const { return next < end; }
  };
  struct alignas(64) Share {
    std::atomic<std::uint64_t> word{0};
    std::atomic<std::uint32_t> computed{0};  // chunks, of any share, by the thread that this one is of
  };
  static std::uint64_t packed(const Claim& claim);
  static Claim unpacked(std::uint64_t word);

  void start();
  void stop();
  void abandon();
  void serve(int thread);
  bool claim(Claim& to, int thread);
  void compute(const Claim& chunk, int thread);
  void go_on(std::uint32_t stage, int thread);
  Clock::duration wait_for_end_of(std::uint32_t stage);
  void choose_company(Clock::duration run, Clock::duration waited);

  const int count_;
  // Of the run under way; read by those who hold a chunk of it.
  Work* work_ = nullptr;
  std::uint32_t first_ = 0;
  std::vector<Share> shares_;                         // of each thread
  alignas(64) std::atomic<int> unfinished_{0};        // chunks of the open stage
  alignas(64) std::atomic<std::uint32_t> opened_{0};  // stages ever opened or ended: what sleeping threads wait on
  std::atomic<bool> stopping_{false};
  std::unique_ptr<Helpers> helpers_;
  int process_;  // that the helpers belong to
  // Of the caller: until when it computes alone, for how many times the last wait, and how many runs went well since.
  Clock::time_point alone_until_{};
  int patience_ = 0, good_runs_ = 0;
};

}  // namespace oaq
