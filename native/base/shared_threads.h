// Pools of threads that the sessions of a process share.
//
// Sessions of the same number of threads run on the same helpers, one run after another. Runs at the same time have
// pools of their own as long as all their threads together find a CPU each; a run beyond that is computed by its caller
// alone, for more threads would only take the CPUs from each other.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/work.h"

namespace oaq {

class Threads;

class SharedThreads {
 public:
  // Those of this process; helpers end when nobody holds them. Throws std::runtime_error: the system does not start so
  // many.
  static std::shared_ptr<SharedThreads> of(int count);

  // The same, held until the process ends: for what has no session. Helpers outlive static destructors.
  static SharedThreads& for_ever(int count);

  explicit SharedThreads(int count);
  SharedThreads(const SharedThreads&) = delete;
  SharedThreads& operator=(const SharedThreads&) = delete;
  ~SharedThreads();

  int count() const { return count_; }

  // Computes all stages in order; any number of callers at a time. Allocates nothing, but for the first time that runs
  // on pools of this size meet; where the system gives no further threads, the caller computes alone.
  void run(Work& work);

 private:
  std::unique_ptr<Threads> take();

  const int count_;
  std::vector<std::unique_ptr<Threads>> idle_;
  std::size_t pools_ = 0;  // idle and lent
};

}  // namespace oaq
