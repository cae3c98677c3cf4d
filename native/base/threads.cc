// The pool: threads claim chunks of the stages of a run, watch for the next stage, then sleep. Nothing is computed.
#include "base/threads.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

#ifdef OAQ_X86
#include <immintrin.h>
#endif

namespace oaq {
namespace {

// A stage takes microseconds; a sleeping thread takes longer to wake. So threads watch for this many turns first.
constexpr int kTurns = 2000;

// A run is a bad one if the caller has waited for the others for more than this share of it: then they have done less
// than it did, and cost more than they brought.
constexpr int kShare = 3;

// After a bad run the caller computes alone for so many times what it has waited, twice as long after each further one:
// trying again costs a small share of the time however long a neighbour stays. After so many good runs, half as long.
constexpr int kLeastAlone = 8, kMostAlone = 128, kGoodRuns = 64;
constexpr std::chrono::milliseconds kLongestAlone{250};

void pause() {
#ifdef OAQ_X86
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Whether the value changed within that many turns.
bool changes(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int turn = 0; turn < kTurns; ++turn) {
    if (value.load(std::memory_order_acquire) != old) return true;
    pause();
  }
  return false;
}

}  // namespace

std::uint64_t Threads::packed(std::uint32_t stage, int chunks) {
  return std::uint64_t{stage} << 32 | static_cast<std::uint64_t>(chunks) << 16;
}

Threads::Claim Threads::unpacked(std::uint64_t word) {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16),
          static_cast<std::uint16_t>(word)};
}

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
  opened_.fetch_add(1, std::memory_order_release);
  opened_.notify_all();
  for (std::thread& helper : *helpers_) helper.join();
  helpers_->clear();
}

// In a forked child: the helpers are not there, so their handles can be neither joined nor detached. They are leaked.
// The words are as the parent left them, perhaps in the middle of a run.
void Threads::abandon() {
  static_cast<void>(helpers_.release());
  claims_.store(0, std::memory_order_relaxed);
  unfinished_.store(0, std::memory_order_relaxed);
  opened_.store(0, std::memory_order_relaxed);
  stopping_.store(false, std::memory_order_relaxed);
}

void Threads::run(Work& work) {
  if (count_ > 1 && process_ != getpid()) {
    abandon();
    start();
  }
  if (!work.stages()) return;
  if (count_ == 1 || (patience_ && Clock::now() < alone_until_)) return run_alone(work);
  const ThreadState state(work.isas());
  work_ = &work;
  first_ = unpacked(claims_.load(std::memory_order_relaxed)).stage + 1;
  const std::uint32_t end = first_ + work.stages();
  const Clock::time_point start = Clock::now();
  open(first_, work.chunks(0));
  Clock::duration waited{};
  for (Claim chunk{first_, 0, 0}; chunk.stage != end;) {
    if (claim(chunk))
      compute(chunk, 0);
    else if (chunk.stage != end)
      waited += wait_for_stage(chunk.stage);
  }
  choose_company(Clock::now() - start, waited);
}

void Threads::run_alone(Work& work) {
  const ThreadState state(work.isas());
  for (std::uint32_t stage = 0; stage < work.stages(); ++stage) {
    work.compute(stage, 0, 1, 0);
    work.complete(stage);
  }
}

// Claims a chunk if there is one; says in any case which stage is open.
bool Threads::claim(Claim& to) {
  to = unpacked(claims_.load(std::memory_order_acquire));
  if (!to.is_chunk()) return false;
  to = unpacked(claims_.fetch_add(1, std::memory_order_acq_rel));
  return to.is_chunk();
}

void Threads::compute(const Claim& chunk, int thread) {
  Work& work = *work_;
  const std::uint32_t stage = chunk.stage - first_;
  work.compute(stage, chunk.next, chunk.chunks, thread);
  if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  work.complete(stage);
  const bool is_last = stage + 1 == work.stages();
  open(chunk.stage + 1, is_last ? 0 : work.chunks(stage + 1));  // if it is the last, `work` may end here
}

void Threads::open(std::uint32_t stage, int chunks) {
  unfinished_.store(chunks, std::memory_order_relaxed);
  claims_.store(packed(stage, chunks), std::memory_order_release);
  opened_.fetch_add(1, std::memory_order_release);
  opened_.notify_all();
}

// Returns when the stage is no longer open, with the time that took.
Threads::Clock::duration Threads::wait_for_stage(std::uint32_t stage) {
  const Clock::time_point start = Clock::now();
  for (;;) {
    const std::uint32_t opened = opened_.load(std::memory_order_acquire);
    if (unpacked(claims_.load(std::memory_order_acquire)).stage != stage) return Clock::now() - start;
    if (!changes(opened_, opened)) opened_.wait(opened, std::memory_order_acquire);
  }
}

// Whether the next runs are computed with the others or alone.
void Threads::choose_company(Clock::duration run, Clock::duration waited) {
  if (kShare * waited <= run) {
    if (++good_runs_ % kGoodRuns == 0) patience_ /= 2;
    return;
  }
  good_runs_ = 0;
  patience_ = patience_ < kLeastAlone ? kLeastAlone : std::min(2 * patience_, kMostAlone);
  alone_until_ = Clock::now() + std::min<Clock::duration>(patience_ * waited, kLongestAlone);
}

void Threads::serve(int thread) {
  std::optional<ThreadState> state;  // while there are stages to compute
  while (!stopping_.load(std::memory_order_relaxed)) {
    const std::uint32_t opened = opened_.load(std::memory_order_acquire);
    if (Claim chunk{}; claim(chunk)) {
      if (!state) state.emplace(work_->isas());
      compute(chunk, thread);
      continue;
    }
    if (changes(opened_, opened)) continue;
    state.reset();
    if (!stopping_.load(std::memory_order_relaxed)) opened_.wait(opened, std::memory_order_acquire);
  }
}

}  // namespace oaq
