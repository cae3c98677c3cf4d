// What steps without weights do to integers, once for any CPU and once per instruction set that has it wider. Every one
// computes the same integers.
//
// Up to kSlack bytes past the end of an input may be read; nothing past the end of an output is written. Outputs of a
// pixel may be written before their time, past its end, as long as they are this call's own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "requantize/loops.h"
#include "steps/shuffle.h"

namespace oaq {

// y = (a - a_zero) * (b - b_zero), requantized by the first numbers.
struct MultiplyCall {
  const std::uint8_t* a;
  const std::uint8_t* b;
  std::size_t count;
  std::int32_t a_zero;
  std::int32_t b_zero;
  RequantNumbers numbers;
  std::uint8_t* y;
};

// Pixels of y, each from `taps` pixels of an image: those at x[tap] + pixel * step.
struct WindowCall {
  const std::uint8_t* const* x;
  std::int64_t taps;
  std::int64_t pixels;
  std::int64_t step;
  std::size_t channels;
  std::uint8_t* y;
};

// `positions` times `channels` bytes, channel c by entries [256 c, 256 c + 256) of `tables`.
struct ChannelLookupCall {
  const std::uint8_t* x;
  std::int64_t positions;
  std::int64_t channels;
  const std::uint8_t* tables;
  const std::uint8_t* differences;  // the same tables as `as_differences` writes them
  std::uint8_t* y;
};

// Of `pixels` pixels, `stride` bytes apart, by channel: how many integers are above what is taken off, the sum of what
// is left of them, and of its square. kSlack bytes past `off` may be read. At most 2^15 pixels, so that sums of squares
// stay below 2^31.
struct LevelSumsCall {
  const std::uint8_t* x;
  std::int64_t stride, pixels, channels;
  const std::uint8_t* off;
  std::uint32_t* counts;
  std::uint32_t* totals;
  std::uint32_t* squares;
};

// Where one output reads an axis: two inputs, and the weight of the second in 2^-11.
struct Tap {
  std::int64_t first, second;
  std::int32_t weight;
};
inline constexpr int kTapBits = 11;

struct StepLoops {
  Isa isa;
  void (*multiply)(const MultiplyCall& call);
  // y[i] = table[x[i]]; `table` has 256 entries.
  void (*lookup)(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y);
  void (*lookup_channels)(const ChannelLookupCall& call);
  // y[i] = x[i] - x_zero, requantized by the first numbers; null where a table is quicker.
  void (*rescale)(const std::uint8_t* x, std::size_t count, std::int32_t x_zero, const RequantNumbers& numbers,
                  std::uint8_t* y);
  // The largest of the taps, 0 of none, clamped to [lo, hi].
  void (*largest)(const WindowCall& call, std::uint8_t lo, std::uint8_t hi);
  // The sum of the taps and `offset`, requantized by the first numbers.
  void (*average)(const WindowCall& call, std::int32_t offset, const RequantNumbers& numbers);
  // sums[c] += every x[pixel * stride + c]. Sums are written to a multiple of 64 of them, read and written again.
  void (*add_up)(const std::uint8_t* x, std::int64_t stride, std::int64_t pixels, std::size_t channels,
                 std::int32_t* sums);
  // mixed = first * (2^11 - weight) + second * weight of pixels of one line; up to 64 sums more are written.
  void (*mix_columns)(const std::uint8_t* x, const Tap* taps, std::int64_t columns, std::size_t channels,
                      std::int32_t* mixed);
  // y = (first * (2^11 - weight) + second * weight) / 2^22, halves up, of two lines that `mix_columns` mixed.
  void (*mix_lines)(const std::int32_t* first, const std::int32_t* second, std::int32_t weight, std::size_t count,
                    std::uint8_t* y);
  void (*shuffle)(const ShuffleCall& call);
  void (*add_levels)(const LevelSumsCall& call);
};

extern const StepLoops kScalarSteps;
// Its lookups, byte by byte.
void look_up_bytes(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y);
void look_up_channels(const ChannelLookupCall& call);
#ifdef OAQ_X86
extern const StepLoops kAvx2Steps;
extern const StepLoops kAvx512bwSteps;
void lookup_channels_vbmi(const ChannelLookupCall& call);
#endif
#ifdef OAQ_ARM64
extern const StepLoops kNeonSteps;
#endif
#ifdef OAQ_WASM
extern const StepLoops kSimd128Steps;
#endif

// A table of 256 in two halves of eight rows of 16: the first row of a half as it is, each other as what it differs in,
// bit by bit, from the row before. So row r is the exclusive or of rows 0 to r of its half.
void as_differences(const std::uint8_t* table, std::uint8_t* differences);

// The widest that a row's instruction set includes.
const StepLoops& step_loops(Isa isa);

}  // namespace oaq
