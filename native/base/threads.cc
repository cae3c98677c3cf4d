// The pool: threads claim chunks of the stages of a run, watch for the next stage, then sleep. Nothing is computed.
#include "base/threads.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace oaq {
namespace {

// A stage takes microseconds; a sleeping thread takes longer to wake. So threads watch for this many turns first.
constexpr int kTurns = 2000;

// A run is a bad one if the caller has waited for the others for more than one part in so many of it: then they have
// done less than it did, and cost more than they brought.
constexpr int kMostWaited = 3;

// After a bad run the caller computes alone for so many times what it has waited, twice as long after a further one:
// trying again costs a small share of the time however long a neighbour stays, and most runs are untroubled. Not
// longer, for a neighbour that is there only now and then (a pool that spins after each of its runs) would keep the
// caller alone for good. After so many good runs, half as long.
constexpr int kLeastAlone = 8, kMostAlone = 16, kGoodRuns = 16;
constexpr std::chrono::milliseconds kLongestAlone{250};

// Whether the value changed within that many turns.
bool changes(const std::atomic<std::uint64_t>& value, std::uint64_t old) {
  for (int turn = 0; turn < kTurns; ++turn) {
    if (value.load(std::memory_order_acquire) != old) return true;
    Helpers::pause();
  }
  return false;
}

}  // namespace

std::uint64_t Threads::packed(const Claim& claim) {
  return std::uint64_t{claim.stage} << 32 | std::uint64_t{claim.end} << 16 | claim.next;
}

Threads::Claim Threads::unpacked(std::uint64_t word) {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16),
          static_cast<std::uint16_t>(word)};
}

Threads::Threads(int count) : count_(count), shares_(static_cast<std::size_t>(count)) { start(); }

Threads::~Threads() {
  if (process_ == Helpers::process())
    stop();
  else
    abandon();
}

void Threads::start() {
  process_ = Helpers::process();
  helpers_ = std::make_unique<Helpers>(count_, [this](int thread) { serve(thread); });
  try {
    helpers_->start();
  } catch (const std::system_error& error) {
    const int started = helpers_->started() + 1;
    stop();
    throw std::runtime_error("only " + std::to_string(started) + " of " + std::to_string(count_) +
                             " threads can be started: " + error.what());
  }
}

void Threads::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  opened_.fetch_add(1, std::memory_order_release);
  Helpers::wake_all(opened_);
  helpers_->join();
}

// In a forked child: the helpers are not there, so their handles can be neither joined nor detached. They are leaked.
// The words are as the parent left them, perhaps in the middle of a run.
void Threads::abandon() {
  static_cast<void>(helpers_.release());
  for (Share& share : shares_) share.word.store(0, std::memory_order_relaxed);
  unfinished_.store(0, std::memory_order_relaxed);
  opened_.store(0, std::memory_order_relaxed);
  stopping_.store(false, std::memory_order_relaxed);
}

void Threads::run(Work& work) {
  if (count_ > 1 && process_ != Helpers::process()) {
    abandon();
    try {
      start();
    } catch (const std::runtime_error&) {  // without helpers the caller claims every chunk
    }
  }
  if (!work.stages()) return;
  if (count_ == 1 || (patience_ && Clock::now() < alone_until_)) return run_alone(work);
  helpers_->keep_apart();
  const ThreadState state(work.isas());
  work_ = &work;
  first_ = unpacked(shares_[0].word.load(std::memory_order_relaxed)).stage + 1;
  const std::uint32_t end = first_ + work.stages();
  const Clock::time_point start = Clock::now();
  go_on(first_, 0);
  Clock::duration waited{};
  for (;;) {
    if (Claim chunk{}; claim(chunk, 0)) {
      compute(chunk, 0);
      continue;
    }
    const std::uint32_t stage = unpacked(shares_[0].word.load(std::memory_order_acquire)).stage;
    if (stage == end) break;
    waited += wait_for_end_of(stage);
  }
  choose_company(Clock::now() - start, waited);
}

std::uint32_t Threads::computed(int thread) const {
  return shares_[static_cast<std::size_t>(thread)].computed.load(std::memory_order_relaxed);
}

// Claims a chunk if there is one, of the thread's own share first.
bool Threads::claim(Claim& to, int thread) {
  const auto count = static_cast<std::size_t>(count_), own = static_cast<std::size_t>(thread);
  for (std::size_t i = 0; i < count; ++i) {
    std::atomic<std::uint64_t>& word = shares_[own + i < count ? own + i : own + i - count].word;
    if (!unpacked(word.load(std::memory_order_acquire)).is_chunk()) continue;
    to = unpacked(word.fetch_add(1, std::memory_order_acq_rel));
    if (to.is_chunk()) return true;
  }
  return false;
}

void Threads::compute(const Claim& chunk, int thread) {
  Work& work = *work_;
  const std::uint32_t stage = chunk.stage - first_;
  work.compute(stage, chunk.next, work.chunks(stage), thread);
  std::atomic<std::uint32_t>& computed = shares_[static_cast<std::size_t>(thread)].computed;
  computed.store(computed.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  work.complete(stage);
  go_on(chunk.stage + 1, thread);
}

// From `stage` on, counted over all runs: computes what is in one chunk, then opens the next stage or ends the run, by
// the word of the caller's share. Once that is written, `work` may be gone.
//
// Only shares that hold chunks are written: the others are exhausted, and a thread that lost its CPU right here could
// write over what belongs to a later stage.
void Threads::go_on(std::uint32_t stage, int thread) {
  Work& work = *work_;
  std::uint32_t index = stage - first_;
  for (; index < work.stages() && work.chunks(index) == 1; ++index, ++stage) {
    work.compute(index, 0, 1, thread);
    work.complete(index);
  }
  if (index == work.stages()) {
    shares_[0].word.store(packed({stage, 0, 0}), std::memory_order_release);
  } else {
    const int chunks = work.chunks(index);
    unfinished_.store(chunks, std::memory_order_relaxed);
    int next = chunks;
    for (int share = count_ - 1; share >= 0; --share) {
      const int end = next;
      next = share_begin(chunks, share, count_);
      if (next == end) continue;
      const Claim claim{stage, static_cast<std::uint16_t>(end), static_cast<std::uint16_t>(next)};
      shares_[static_cast<std::size_t>(share)].word.store(packed(claim), std::memory_order_release);
    }
  }
  opened_.fetch_add(1, std::memory_order_release);
  Helpers::wake_all(opened_);
}

// Returns when the stage is no longer open, or something else was opened while this slept; with the time that took.
Threads::Clock::duration Threads::wait_for_end_of(std::uint32_t stage) {
  const Clock::time_point start = Clock::now();
  const std::uint32_t opened = opened_.load(std::memory_order_acquire);
  const std::uint64_t word = shares_[0].word.load(std::memory_order_acquire);
  if (unpacked(word).stage == stage && !changes(shares_[0].word, word)) Helpers::sleep_as_caller(opened_, opened);
  return Clock::now() - start;
}

// Whether the next runs are computed with the others or alone.
void Threads::choose_company(Clock::duration run, Clock::duration waited) {
  if (kMostWaited * waited <= run) {
    if (++good_runs_ % kGoodRuns == 0) patience_ /= 2;
    return;
  }
  good_runs_ = 0;
  patience_ = patience_ < kLeastAlone ? kLeastAlone : std::min(2 * patience_, kMostAlone);
  alone_until_ = Clock::now() + std::min<Clock::duration>(patience_ * waited, kLongestAlone);
}

void Threads::serve(int thread) {
  std::optional<ThreadState> state;  // while there are stages to compute
  const std::atomic<std::uint64_t>& own = shares_[static_cast<std::size_t>(thread)].word;
  while (!stopping_.load(std::memory_order_relaxed)) {
    const std::uint32_t opened = opened_.load(std::memory_order_acquire);
    const std::uint64_t word = own.load(std::memory_order_acquire);
    if (Claim chunk{}; claim(chunk, thread)) {
      if (!state) state.emplace(work_->isas());
      compute(chunk, thread);
      continue;
    }
    if (changes(own, word)) continue;
    state.reset();
    if (!stopping_.load(std::memory_order_relaxed)) Helpers::sleep(opened_, opened);
  }
}

}  // namespace oaq
