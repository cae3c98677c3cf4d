#include "base/threads.h"

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

Threads::Threads(int count) : count_(count) {
  helpers_.reserve(static_cast<std::size_t>(count - 1));
  for (int thread = 1; thread < count; ++thread) helpers_.emplace_back([this, thread] { serve(thread); });
}

Threads::~Threads() {
  stopping_.store(true, std::memory_order_relaxed);
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Threads::run(Function function, void* context) {
  if (count_ > 1) {
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
  for (std::uint32_t seen = 0;; ++seen) {
    wait_while_equal(started_, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    function_(context_, thread, count_);
    wait_for_all();
  }
}

}  // namespace oaq
