// Threads of a page: its workers, which enter here and stay. The page starts them, each with an instance of this module
// on the same memory; a session of one thread has none. Nothing is computed.
//
// An instance serves one network, so it has one pool. A page's own thread must not sleep, so the caller of a run
// watches for the last chunk, which takes microseconds. Helpers allocate nothing, for the C library's memory knows no
// locks.
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/helper_threads.h"
#include "base/shared_threads.h"
#include "base/threads.h"
#include "front/c/oaq.h"

#define OAQ_EXPORT(name) __attribute__((export_name(#name)))

// Given by the page; does not return.
extern "C" [[noreturn]] __attribute__((import_module("oaq"), import_name("fail"))) void oaq_page_fail(
    std::int32_t status, const char* text);

namespace oaq {
namespace {

using Serve = std::function<void(int)>;

// A worker counts itself before it looks at `published`; join() takes that away before it looks at the count. In one
// order of all four, at least one of them sees the other. Atomic instructions of a page have no weaker order anyway.
constexpr auto kOneOrder = std::memory_order_seq_cst;

// Changes with `published`, for workers to sleep on.
std::atomic<std::uint32_t> changes{0};
std::atomic<const Serve*> published{nullptr};
std::atomic<std::uint32_t> serving{0};  // workers inside a pool
std::atomic<bool> is_broken{false};     // a worker has ended in the middle of something
const Threads* pool = nullptr;          // of the network, if it has several threads

constexpr int kTurnsOfPause = 16;

// The address of a word, as the instructions take it.
int* address(const std::atomic<std::uint32_t>& word) {
  return reinterpret_cast<int*>(const_cast<std::atomic<std::uint32_t>*>(&word));
}

void publish(const Serve* serve) {
  published.store(serve, kOneOrder);
  changes.fetch_add(1, std::memory_order_release);
  Helpers::wake_all(changes);
}

}  // namespace

struct Helpers::State {
  int count;
  Serve serve;
};

Helpers::Helpers(int count, Serve serve) : state_(std::make_unique<State>(State{count, std::move(serve)})) {}

Helpers::~Helpers() = default;

void Helpers::start() { publish(&state_->serve); }

int Helpers::started() const { return state_->count - 1; }

void Helpers::join() {
  publish(nullptr);
  while (serving.load(kOneOrder)) pause();
}

void Helpers::keep_apart() {}

int Helpers::process() { return 0; }

void Helpers::pause() {
  for (int turn = 0; turn < kTurnsOfPause; ++turn) static_cast<void>(changes.load(std::memory_order_relaxed));
}

void Helpers::sleep(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  __builtin_wasm_memory_atomic_wait32(address(word), static_cast<int>(old), -1);
}

void Helpers::sleep_as_caller(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  while (word.load(std::memory_order_acquire) == old)
    if (is_broken.load(std::memory_order_relaxed)) oaq_page_fail(OAQ_NO_THREADS, "a worker has ended during a run");
}

void Helpers::wake_all(std::atomic<std::uint32_t>& word) {
  __builtin_wasm_memory_atomic_notify(address(word), UINT32_MAX);
}

std::shared_ptr<SharedThreads> SharedThreads::of(int count) {
  auto threads = std::make_shared<SharedThreads>(count);
  if (count > 1) {
    threads->idle_.push_back(std::make_unique<Threads>(count));
    pool = threads->idle_[0].get();
  }
  return threads;
}

SharedThreads::SharedThreads(int count) : count_(count) {}

SharedThreads::~SharedThreads() { pool = nullptr; }

void SharedThreads::run(Work& work) {
  if (idle_.empty()) return run_alone(work);
  idle_[0]->run(work);
}

}  // namespace oaq

extern "C" {

// A worker's way in: thread 1 and on of the pool of this memory, now or once there is one. Does not return.
OAQ_EXPORT(oaq_web_serve)
void oaq_web_serve(std::int32_t thread) {
  for (;;) {
    const std::uint32_t seen = oaq::changes.load(std::memory_order_acquire);
    oaq::serving.fetch_add(1, oaq::kOneOrder);
    if (const oaq::Serve* serve = oaq::published.load(oaq::kOneOrder)) (*serve)(thread);
    oaq::serving.fetch_sub(1, std::memory_order_acq_rel);
    oaq::Helpers::sleep(oaq::changes, seen);
  }
}

// Chunks that a thread has computed in all runs; thread 0 is the page's own.
OAQ_EXPORT(oaq_web_chunks)
std::uint32_t oaq_web_chunks(std::int32_t thread) {
  return oaq::pool && thread >= 0 && thread < oaq::pool->count() ? oaq::pool->computed(thread) : 0;
}

// Called by a worker that ends: runs that wait for it fail.
OAQ_EXPORT(oaq_web_break)
void oaq_web_break() { oaq::is_broken.store(true, std::memory_order_relaxed); }

}  // extern "C"
