// Sets of CPUs of the helpers. Nothing is computed.
#include "base/placement.h"

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace oaq {

#ifdef __linux__

struct Placement::Helper {
  cpu_set_t allowed, set;  // by others; here
  bool is_known = false;
};

Placement::Placement() : helpers_(std::make_unique<std::vector<Helper>>()) {}
Placement::~Placement() = default;

void Placement::begin(std::size_t helpers) {
  helpers_->assign(helpers, {});
  cpu_ = -1;
}

void Placement::keep_apart(std::vector<std::thread>& helpers) {
  const int cpu = sched_getcpu();
  if (cpu == cpu_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_ = cpu;
  for (std::size_t i = 0; i < helpers_->size() && i < helpers.size(); ++i) {
    Helper& helper = (*helpers_)[i];
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

struct Placement::Helper {};

Placement::Placement() = default;
Placement::~Placement() = default;
void Placement::begin(std::size_t) {}
void Placement::keep_apart(std::vector<std::thread>&) {}

#endif

}  // namespace oaq
