// What serves a pool of threads beside its caller: threads of the system, or in a page its workers (front/web).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace oaq {

class Helpers {
 public:
  // None runs yet. Each will call serve(thread), thread in 1 to count - 1, and ends when that returns.
  Helpers(int count, std::function<void(int)> serve);
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  ~Helpers();

  // Throws std::system_error: the system starts no more. Those that run by then go on.
  void start();
  int started() const;

  // Waits until all have ended.
  void join();

  // Called by the caller of a pool before a run: helpers shall not wake on its CPU. Allocates nothing.
  void keep_apart();

  // A number that is another one in a forked child, which has the memory of this and none of the helpers.
  static int process();

  // Between two looks at a word that is watched.
  static void pause();

  // Returns when the word is no longer `old`, or earlier.
  static void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t old);
  // The same for the caller of a pool, which a page may not let sleep.
  static void sleep_as_caller(const std::atomic<std::uint32_t>& word, std::uint32_t old);
  static void wake_all(std::atomic<std::uint32_t>& word);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oaq
