// The pool: helpers watch a counter, run their part when it moves, and sleep when it stays. Nothing is computed here.
#include "base/threads.h"

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <system_error>

#ifdef OAQ_X86
#include <immintrin.h>
#endif

namespace oaq {
namespace {

// A step of a network takes microseconds; a sleeping thread takes longer to wake. So threads watch for this many turns
// before they sleep.
constexpr int kTurns = 4000;

void pause() {
#ifdef OAQ_X86
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

void wait_while_equal(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int turn = 0; turn < kTurns; ++turn) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

Threads::Threads(int count) : count_(count) { start(); }

Threads::~Threads() {
  if (process_ == getpid())
    stop();
  else
    abandon();
}

void Threads::start() {
  process_ = getpid();
  helpers_ = std::make_unique<std::vector<std::thread>>();
  helpers_->reserve(static_cast<std::size_t>(count_ - 1));
  try {
    for (int thread = 1; thread < count_; ++thread) helpers_->emplace_back([this, thread] { serve(thread); });
  } catch (const std::system_error& error) {
    const std::size_t started = helpers_->size() + 1;
    stop();
    throw std::runtime_error("only " + std::to_string(started) + " of " + std::to_string(count_) +
                             " threads can be started: " + error.what());
  }
}

void Threads::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
  for (std::thread& helper : *helpers_) helper.join();
  helpers_->clear();
}

// In a forked child: the helpers are not there, so their handles can be neither joined nor detached. They are leaked.
// The counters are as the parent left them, perhaps in the middle of a run.
void Threads::abandon() {
  static_cast<void>(helpers_.release());
  started_.store(0, std::memory_order_relaxed);
  arrived_.store(0, std::memory_order_relaxed);
  passed_.store(0, std::memory_order_relaxed);
  stopping_.store(false, std::memory_order_relaxed);
}

void Threads::run(Function function, void* context) {
  if (count_ > 1) {
    if (process_ != getpid()) {
      abandon();
      start();
    }
    function_ = function;
    context_ = context;
    started_.fetch_add(1, std::memory_order_release);
    started_.notify_all();
  }
  function(context, 0, count_);
  wait_for_all();
}

void Threads::wait_for_all() {
  if (count_ == 1) return;
  const std::uint32_t barrier = passed_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    arrived_.store(0, std::memory_order_relaxed);
    passed_.fetch_add(1, std::memory_order_release);
    passed_.notify_all();
    return;
  }
  wait_while_equal(passed_, barrier);
}

void Threads::serve(int thread) {
  for (std::uint32_t round = 0;; ++round) {
    wait_while_equal(started_, round);
    if (stopping_.load(std::memory_order_relaxed)) return;
    function_(context_, thread, count_);
    wait_for_all();
  }
}

}  // namespace oaq
