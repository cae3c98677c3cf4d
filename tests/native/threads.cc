// Runs stages of chunks on a pool, then on shared pools from several callers, and prints "right" if each chunk was
// computed once, after the stage before it, and if a run for which there is no CPU was computed by its caller alone.
#include "base/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/shared_threads.h"

namespace {

class Counted : public oaq::Work {
 public:
  Counted(std::vector<int> chunks, bool stalls) : chunks_(std::move(chunks)), stalls_(stalls), times_(chunks_.size()) {
    for (std::size_t i = 0; i < times_.size(); ++i) times_[i] = std::vector<std::atomic<int>>(oaq::kMostChunks);
  }

  std::uint32_t stages() const override { return static_cast<std::uint32_t>(chunks_.size()); }
  int chunks(std::uint32_t stage) const override { return chunks_[stage]; }

  void compute(std::uint32_t stage, int chunk, int chunks, int thread) override {
    if (stage != completed_ || chunk >= chunks || in_use_[thread].exchange(true)) right = false;
    if (chunks != chunks_[stage] && chunks != 1) right = false;
    if (stalls_ && thread && chunk % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (times_[stage][static_cast<std::size_t>(chunk)].fetch_add(1) != runs) right = false;
    computed_ += chunks == 1 ? chunks_[stage] : 1;
    in_use_[thread] = false;
  }

  void complete(std::uint32_t stage) override {
    if (stage != completed_ || computed_ != chunks_[stage]) right = false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(chunks_[stage]); ++i) times_[stage][i] = runs + 1;
    computed_ = 0;
    ++completed_;
  }

  oaq::Isas isas() const override { return oaq::bit(oaq::Isa::kScalar); }

  void end_run() {
    if (completed_ != stages()) right = false;
    completed_ = 0;
    ++runs;
  }

  std::atomic<bool> right{true};
  int runs = 0;

 private:
  std::vector<int> chunks_;
  bool stalls_;
  std::vector<std::vector<std::atomic<int>>> times_;
  std::atomic<std::uint32_t> completed_{0};
  std::atomic<int> computed_{0};
  std::atomic<bool> in_use_[256]{};
};

bool run_on(auto& pool, int runs, bool stalls) {
  Counted uneven({1, 1, 7, 1, 64, 3, 1, 2, oaq::kMostChunks, 1}, stalls), single({1}, stalls), none({}, stalls);
  for (int run = 0; run < runs; ++run)
    for (Counted* work : {&uneven, &single, &none}) {
      pool.run(*work);
      work->end_run();
    }
  return uneven.right && single.right && none.right;
}

// Callers share pools of two sizes, which come and go.
bool run_from_callers(int threads, int runs) {
  std::atomic<bool> right{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] {
      for (int time = 0; time < 4; ++time) {
        const auto pool = oaq::SharedThreads::of(caller % 2 ? threads : threads + 1);
        if (!run_on(*pool, runs, false)) right = false;
        if (!run_on(oaq::SharedThreads::for_ever(threads), 1, false)) right = false;
      }
    });
  for (std::thread& caller : callers) caller.join();
  return right;
}

// Notes in how many chunks its only stage was computed: 8 by threads, 1 by a caller alone.
class Noted : public oaq::Work {
 public:
  std::uint32_t stages() const override { return 1; }
  int chunks(std::uint32_t) const override { return 8; }
  void compute(std::uint32_t, int, int chunks, int) override { noted = chunks; }
  void complete(std::uint32_t) override {}
  oaq::Isas isas() const override { return oaq::bit(oaq::Isa::kScalar); }

  std::atomic<int> noted{0};
};

// Runs other work inside its own run.
class Around : public oaq::Work {
 public:
  explicit Around(Noted& inner) : inner_(inner) {}

  std::uint32_t stages() const override { return 1; }
  int chunks(std::uint32_t) const override { return 1; }
  void compute(std::uint32_t, int, int, int) override { oaq::SharedThreads::of(2)->run(inner_); }
  void complete(std::uint32_t) override {}
  oaq::Isas isas() const override { return oaq::bit(oaq::Isa::kScalar); }

 private:
  Noted& inner_;
};

// A run while another has every CPU is its caller's alone; the next one has threads again. The pools of two threads are
// those of the runs before, which may have chosen to compute alone for a while: 250 ms at most.
bool run_beside_a_full_machine() {
  const auto all = oaq::SharedThreads::of(std::max(2, static_cast<int>(std::thread::hardware_concurrency())));
  Noted beside, after;
  Around work(beside);
  all->run(work);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  oaq::SharedThreads::of(2)->run(after);
  return beside.noted == 1 && after.noted == 8;
}

}  // namespace

int main(int, char** arguments) {
  const int threads = std::atoi(arguments[1]), runs = std::atoi(arguments[2]);
  const bool stalls = std::atoi(arguments[3]) != 0;
  bool pool_is_right = true;
  {
    oaq::Threads pool(threads);
    pool_is_right = run_on(pool, runs, stalls);
  }
  const bool shared_is_right = run_from_callers(threads, runs / 10);
  const bool beside_is_right = run_beside_a_full_machine();
  if (!pool_is_right) std::puts("wrong in one pool");
  if (!shared_is_right) std::puts("wrong in shared pools");
  if (!beside_is_right) std::puts("wrong beside a full machine");
  if (pool_is_right && shared_is_right && beside_is_right) std::puts("right");
  return 0;
}
