// Sets of CPUs of the helpers. Nothing is computed.
#include "base/placement.h"

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace oaq {

#ifdef __linux__

struct Placement::State {
  struct Helper {
    cpu_set_t allowed, set;  // by others; here
    bool is_known = false;
  };
  std::vector<Helper> helpers;
  int cpu = -1;  // of the caller in its last run
};

Placement::Placement() : state_(std::make_unique<State>()) {}

void Placement::begin(std::size_t helpers) { *state_ = {std::vector<State::Helper>(helpers), -1}; }

void Placement::keep_apart(std::vector<std::thread>& helpers) {
  const int cpu = sched_getcpu();
  if (cpu == state_->cpu || cpu < 0 || cpu >= CPU_SETSIZE) return;
  state_->cpu = cpu;
  for (std::size_t i = 0; i < state_->helpers.size() && i < helpers.size(); ++i) {
    State::Helper& helper = state_->helpers[i];
    const pthread_t thread = helpers[i].native_handle();
    cpu_set_t now;
    if (pthread_getaffinity_np(thread, sizeof now, &now)) return;  // more CPUs than a set holds
    if (!helper.is_known || !CPU_EQUAL(&now, &helper.set)) helper.allowed = now;
    helper.set = helper.allowed;
    helper.is_known = true;
    if (static_cast<std::size_t>(CPU_COUNT(&helper.allowed)) > helpers.size())
      CPU_CLR(static_cast<std::size_t>(cpu), &helper.set);
    if (!CPU_EQUAL(&now, &helper.set) && pthread_setaffinity_np(thread, sizeof helper.set, &helper.set))
      helper.is_known = false;
  }
}

#else

struct Placement::State {};

Placement::Placement() = default;
void Placement::begin(std::size_t) {}
void Placement::keep_apart(std::vector<std::thread>&) {}

#endif

Placement::~Placement() = default;

}  // namespace oaq
