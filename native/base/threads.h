// A pool of threads that run the same function together, one part each.
//
// A process that forks keeps the memory of its threads, not the threads: a child starts its own before its first run.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace oaq {

class Threads {
 public:
  // What the threads run: `run(context, thread, threads)`; must not throw.
  using Function = void (*)(void* context, int thread, int threads);

  // Throws std::runtime_error: the system does not start so many.
  explicit Threads(int count);
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads();

  int count() const { return count_; }

  // Runs the function on every thread, this one included, and returns when all have finished. Neither locks nor
  // allocates, but for the first run of a forked child, which may throw as the constructor does. One caller at a time.
  void run(Function function, void* context);

  // To be called inside a function that `run` runs, by every thread: returns when all have called it.
  void wait_for_all();

 private:
  void start();
  void stop();
  void abandon();
  void serve(int thread);

  const int count_;
  Function function_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> started_{0};  // runs begun; waited on between runs
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> passed_{0};  // barriers passed
  std::atomic<bool> stopping_{false};
  std::unique_ptr<std::vector<std::thread>> helpers_;
  int process_;  // that the helpers are threads of
};

}  // namespace oaq
