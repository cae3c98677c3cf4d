// Counts the threads of all runs under way, and lends pools to them. Nothing is computed.
#include "base/shared_threads.h"

#include "base/threads.h"

#ifndef _WIN32
#include <pthread.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace oaq {
namespace {

// Of the process; outlives static destructors, as threads may. Locked while the process forks, so that a child finds
// it whole; runs under way are those of threads that the child does not have.
struct Registry {
  std::mutex guard;  // of what follows, and of the pools of every size
  std::map<int, std::weak_ptr<SharedThreads>> by_count;
  std::map<int, std::shared_ptr<SharedThreads>> for_ever;
  std::atomic<int> running{0};  // threads of all runs under way
};

Registry& registry() {
  static auto* const registry_of_process = new Registry;
  return *registry_of_process;
}

#ifdef _WIN32
bool watch_forks() { return true; }  // there are none
#else
void before_fork() { registry().guard.lock(); }
void in_parent() { registry().guard.unlock(); }
void in_child() {
  registry().running.store(0, std::memory_order_relaxed);
  registry().guard.unlock();
}

bool watch_forks() { return pthread_atfork(before_fork, in_parent, in_child) == 0; }
#endif

// CPUs that the calling thread may run on.
int cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

std::shared_ptr<SharedThreads> SharedThreads::of(int count) {
  [[maybe_unused]] static const bool is_watched = watch_forks();
  Registry& shared = registry();
  {
    const std::lock_guard lock(shared.guard);
    if (std::shared_ptr<SharedThreads> threads = shared.by_count[count].lock()) return threads;
  }
  auto threads = std::make_shared<SharedThreads>(count);
  if (count > 1) {
    threads->idle_.push_back(std::make_unique<Threads>(count));
    threads->pools_ = 1;
  }
  const std::lock_guard lock(shared.guard);
  shared.by_count[count] = threads;  // where two callers meet here, both keep what they have made
  return threads;
}

SharedThreads& SharedThreads::for_ever(int count) {
  Registry& shared = registry();
  {
    const std::lock_guard lock(shared.guard);
    if (const auto place = shared.for_ever.find(count); place != shared.for_ever.end()) return *place->second;
  }
  std::shared_ptr<SharedThreads> threads = of(count);
  const std::lock_guard lock(shared.guard);
  return *shared.for_ever.emplace(count, std::move(threads)).first->second;
}

SharedThreads::SharedThreads(int count) : count_(count) {}

SharedThreads::~SharedThreads() = default;

void SharedThreads::run(Work& work) {
  Registry& shared = registry();
  std::unique_ptr<Threads> pool = count_ > 1 ? take() : nullptr;
  if (!pool) {
    shared.running.fetch_add(1, std::memory_order_relaxed);
    run_alone(work);
    shared.running.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  pool->run(work);
  const std::lock_guard lock(shared.guard);
  shared.running.fetch_sub(count_, std::memory_order_relaxed);
  idle_.push_back(std::move(pool));  // there is room
}

// A pool for a run, whose threads count as running; null if they would not find a CPU each, or cannot be started.
std::unique_ptr<Threads> SharedThreads::take() {
  Registry& shared = registry();
  const std::lock_guard lock(shared.guard);
  const int running = shared.running.load(std::memory_order_relaxed);
  if (running && running + count_ > cpus()) return nullptr;
  std::unique_ptr<Threads> pool;
  if (!idle_.empty()) {
    pool = std::move(idle_.back());
    idle_.pop_back();
  } else {
    try {
      idle_.reserve(pools_ + 1);
      pool = std::make_unique<Threads>(count_);
      ++pools_;
    } catch (const std::exception&) {
      return nullptr;
    }
  }
  shared.running.fetch_add(count_, std::memory_order_relaxed);
  return pool;
}

}  // namespace oaq
