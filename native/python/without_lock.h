// The interpreter's lock, given up while native code computes.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <thread>

namespace oaq::python {

// The interpreter's lock, given up while this lives. Once the interpreter ends, a daemon thread that asks for the lock,
// or waits for it already, is ended by an exception that no C++ frame may let through; such a thread sleeps until the
// process is gone.
class WithoutLock {
 public:
  WithoutLock() : state_(PyEval_SaveThread()) {}
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;
  ~WithoutLock() { take(); }

  // Whether the caller's thread has a signal to answer (Ctrl-C); its exception is then set.
  bool is_interrupted() {
    take();
    const bool interrupted = PyErr_CheckSignals() != 0;
    state_ = PyEval_SaveThread();
    return interrupted;
  }

 private:
  void take() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(24));
    }
  }

  PyThreadState* state_;
};

}  // namespace oaq::python
