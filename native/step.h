// One node of a plan made ready to run: what the session calls, whatever the operator.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/isa.h"

namespace oaq {

// Where a tensor of one sample lies in the arena: (height, width, channels), channels innermost, one byte each.
struct Place {
  std::size_t offset;
  std::int64_t height;  // in 64 bits, as all that is computed from them: base/sizes.h
  std::int64_t width;
  std::int64_t channels;

  // Of a place inside an arena, so it fits.
  std::size_t bytes() const { return static_cast<std::size_t>(height * width * channels); }
};

// What a step chose where several ways lead to the same integers; only time depends on it.
struct Choices {
  std::string_view operands;         // of sums: "direct", "in lines", "gathered"; else empty
  std::array<std::int32_t, 3> ways;  // tiles that leave by each `Way`; 0 if it sums nothing
};

// In how many chunks so many threads should compute what takes one of them about so long. A chunk is waited for at the
// end of a step, so it should be short; but each costs a microsecond, and may read again what others have read. Fewer
// than threads share a step of which each would get less than two microseconds.
int chunks_of(double nanoseconds, int threads);

// The same, or as many chunks for each thread as suit the step; one for each if fewer do.
template <typename Suits>
int chunks_that(double nanoseconds, int threads, Suits suits) {
  int chunks = chunks_of(nanoseconds, threads);
  while (chunks > threads && !suits(chunks)) chunks -= threads;
  return chunks;
}

// Threads share a step: chunk c of C is a part of the output of its own, whatever C is, and nothing else is written.
// Steps are immutable while they run, so any number of threads may run one; what they need to write down meanwhile lies
// in their own scratch.
class Step {
 public:
  Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  virtual ~Step() = default;

  // Bytes of weights, which a session keeps beside those of its other steps.
  virtual std::size_t weight_bytes() const { return 0; }

  // Those bytes; null if there are none.
  virtual const std::uint8_t* weights() const { return nullptr; }

  // Before the first run: moves the weights to so many bytes at `to`, aligned to 64, which outlive the step.
  virtual void move_weights(std::uint8_t* to) { static_cast<void>(to); }

  // Bytes of scratch memory each thread needs, aligned to 64.
  virtual std::size_t scratch_bytes() const { return 0; }

  virtual Choices choices() const { return {}; }

  // The instruction sets it uses, for what threads must do around a run (base/isa.h).
  virtual Isas isas() const { return bit(Isa::kScalar); }

  // In how many chunks so many threads should compute it: a chunk should last a few microseconds at least.
  virtual int chunks(int threads) const = 0;

  virtual void run(std::uint8_t* arena, std::uint8_t* scratch, int chunk, int chunks) const = 0;
};

}  // namespace oaq
