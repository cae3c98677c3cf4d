// From a plan's bytes to a session that runs it. The bytes may come from anywhere: whatever they hold, loading and
// running stay inside the memory they are given. That sums do not overflow was proved before the bytes were written,
// and is not proved again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plan/read.h"
#include "session/session.h"

namespace oaq {

// A tensor: real value = scale * (integer - zero_point), integers in `range`.
struct Description {
  std::string name;
  std::vector<std::int32_t> dims;  // of one sample, channels last
  float scale;
  std::int32_t zero_point;
  Clamp range;
  std::size_t bytes;  // of one sample
};

struct LoadedPlan {
  std::unique_ptr<Session> session;
  std::vector<Description> tensors;
  std::vector<std::uint32_t> inputs, outputs;   // which of the tensors callers fill and read
  std::size_t arena, arenas, weights, scratch;  // bytes, of so many arenas; scratch in every thread
};

// Copies what it needs; `plan` may go afterwards.
//
// `chunks`: in how many threads share every step; 0: as many as suit it.
//
// Throws PlanError: the bytes are not a plan, or this CPU lacks a row's instructions. Throws MemoryExceeded: tensors,
// weights and every thread's scratch need more than `limit` bytes. Throws std::invalid_argument: threads outside
// [1, 256], chunks outside [0, 4096]. Throws std::bad_alloc, std::runtime_error: the system gives no memory, or no
// threads.
LoadedPlan load_plan(std::span<const std::uint8_t> plan, int threads, std::size_t limit, int chunks = 0);

}  // namespace oaq
