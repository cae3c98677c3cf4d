// Helpers that are threads of the system. Nothing is computed.
#include "base/helper_threads.h"

#ifndef _WIN32
#include <unistd.h>
#endif

#include <thread>
#include <utility>
#include <vector>

#include "base/placement.h"

#ifdef OAQ_X86
#include <immintrin.h>
#endif

namespace oaq {

struct Helpers::State {
  int count = 1;
  std::function<void(int)> serve;
  std::vector<std::thread> threads;
  Placement placement;
};

Helpers::Helpers(int count, std::function<void(int)> serve) : state_(std::make_unique<State>()) {
  state_->count = count;
  state_->serve = std::move(serve);
  state_->threads.reserve(static_cast<std::size_t>(count - 1));
}

Helpers::~Helpers() = default;

void Helpers::start() {
  state_->placement.begin(static_cast<std::size_t>(state_->count - 1));
  for (int thread = 1; thread < state_->count; ++thread) state_->threads.emplace_back(state_->serve, thread);
}

int Helpers::started() const { return static_cast<int>(state_->threads.size()); }

void Helpers::join() {
  for (std::thread& thread : state_->threads) thread.join();
  state_->threads.clear();
}

void Helpers::keep_apart() { state_->placement.keep_apart(state_->threads); }

int Helpers::process() {
#ifdef _WIN32
  return 0;  // which never forks
#else
  return getpid();
#endif
}

void Helpers::pause() {
#ifdef OAQ_X86
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

void Helpers::sleep(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  word.wait(old, std::memory_order_acquire);
}

void Helpers::sleep_as_caller(const std::atomic<std::uint32_t>& word, std::uint32_t old) { sleep(word, old); }

void Helpers::wake_all(std::atomic<std::uint32_t>& word) { word.notify_all(); }

}  // namespace oaq
