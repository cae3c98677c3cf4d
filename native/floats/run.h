// Float parts on several threads, which all runs of the process share (base/shared_threads.h). Functions throw
// std::invalid_argument: this CPU lacks the instruction set; std::bad_alloc; std::runtime_error: the system does not
// start so many threads.
#pragma once

#include <cstdint>

#include "floats/loops.h"

namespace oaq {

struct FloatOptions {
  Isa isa;
  int threads;
};

void normalize(const NormalizeCall& call, const FloatOptions& options);

void gelu(const GeluCall& call, const FloatOptions& options);

// Heads of a batch: head h of sample b lies at column h * depth of q and k, h * width of v and y, rows b * rows of q
// and y, b * keys of k and v. Factors are those of all heads.
struct AttentionCall {
  AttendCall head;  // pointers to the first head; its rows, keys, strides; no scratch
  std::int64_t batch, heads;
  std::ptrdiff_t shift_sample, shift_head;
};

void attention(const AttentionCall& call, const FloatOptions& options);

}  // namespace oaq
