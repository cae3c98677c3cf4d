// Where helpers of a pool wake: not on the CPU of the thread that wakes them.
//
// Linux wakes a thread on the CPU of its waker where it takes no other for idle, and in a virtual machine it takes none
// for idle that the host may have lent to others meanwhile. The helper then waits for the caller, which computes all
// chunks alone, until the system moves one of the two: milliseconds later, which is longer than many runs. So helpers
// may run on every CPU that they were allowed, but for the caller's.
#pragma once

#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace oaq {

class Placement {
 public:
  Placement();
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;
  ~Placement();

  // There are so many new helpers. What was known of others is forgotten.
  void begin(std::size_t helpers);

  // Called by the caller before a run; allocates nothing. Does nothing where its CPU is that of the last run; where
  // there is no CPU for each thread; and where the system is not Linux. A set of CPUs that someone else has chosen for
  // a helper since is the one it is allowed from then on.
  void keep_apart(std::vector<std::thread>& helpers);

 private:
  struct State;  // nothing where the system is not Linux
  std::unique_ptr<State> state_;
};

}  // namespace oaq
