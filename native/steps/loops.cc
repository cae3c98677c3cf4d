// The loops of steps without weights for any CPU: plain, so that every compiler makes vector code of them.
//
//   products   s32   of two u8 less their zero points   **exact**: below 2^16
//   sums       s32   of at most 2^23 u8                 **exact**
//   mixed      s32   of u8 times weights of 11 bits, twice   **exact**: below 2^30
#include "steps/loops.h"

#include <algorithm>
#include <cstring>

namespace oaq {
namespace {

constexpr std::size_t kBlock = 256;

void multiply(const MultiplyCall& call) {
  std::int32_t products[kBlock];
  for (std::size_t first = 0; first < call.count; first += kBlock) {
    const std::size_t count = std::min(kBlock, call.count - first);
    const std::uint8_t *a = call.a + first, *b = call.b + first;
    for (std::size_t i = 0; i < count; ++i) products[i] = (a[i] - call.a_zero) * (b[i] - call.b_zero);
    kScalarRequant.all(call.numbers, products, count, call.y + first);
  }
}

void raise_to(std::uint8_t* __restrict y, const std::uint8_t* __restrict x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = std::max(y[i], x[i]);
}

void largest(const WindowCall& call, std::uint8_t lo, std::uint8_t hi) {
  for (std::int64_t pixel = 0; pixel < call.pixels; ++pixel) {
    std::uint8_t* y = call.y + static_cast<std::size_t>(pixel) * call.channels;
    std::memset(y, 0, call.channels);
    for (std::int64_t tap = 0; tap < call.taps; ++tap) raise_to(y, call.x[tap] + pixel * call.step, call.channels);
    if (lo != 0 || hi != 255)
      for (std::size_t c = 0; c < call.channels; ++c) y[c] = std::clamp(y[c], lo, hi);
  }
}

void add_line(const std::uint8_t* __restrict x, std::size_t count, std::int32_t* __restrict sums) {
  for (std::size_t i = 0; i < count; ++i) sums[i] += x[i];
}

void average(const WindowCall& call, std::int32_t offset, const RequantNumbers& numbers) {
  std::int32_t sums[kBlock];
  for (std::int64_t pixel = 0; pixel < call.pixels; ++pixel)
    for (std::size_t first = 0; first < call.channels; first += kBlock) {
      const std::size_t count = std::min(kBlock, call.channels - first);
      std::fill_n(sums, count, offset);
      for (std::int64_t tap = 0; tap < call.taps; ++tap) add_line(call.x[tap] + pixel * call.step + first, count, sums);
      kScalarRequant.all(numbers, sums, count, call.y + static_cast<std::size_t>(pixel) * call.channels + first);
    }
}

void add_up(const std::uint8_t* x, std::int64_t stride, std::int64_t pixels, std::size_t channels, std::int32_t* sums) {
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) add_line(x + pixel * stride, channels, sums);
}

void mix(const std::uint8_t* __restrict first, const std::uint8_t* __restrict second, std::int32_t weight,
         std::size_t count, std::int32_t* __restrict mixed) {
  for (std::size_t i = 0; i < count; ++i) mixed[i] = first[i] * ((1 << kTapBits) - weight) + second[i] * weight;
}

void mix_columns(const std::uint8_t* x, const Tap* taps, std::int64_t columns, std::size_t channels,
                 std::int32_t* mixed) {
  const auto size = static_cast<std::int64_t>(channels);
  for (std::int64_t column = 0; column < columns; ++column) {
    const Tap& tap = taps[column];
    mix(x + tap.first * size, x + tap.second * size, tap.weight, channels, mixed + column * size);
  }
}

void mix_lines(const std::int32_t* __restrict first, const std::int32_t* __restrict second, std::int32_t weight,
               std::size_t count, std::uint8_t* __restrict y) {
  constexpr int kBits = 2 * kTapBits;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t mixed = first[i] * ((1 << kTapBits) - weight) + second[i] * weight;
    y[i] = static_cast<std::uint8_t>((mixed + (1 << (kBits - 1))) >> kBits);
  }
}

void shuffle(const ShuffleCall& call) {
  const std::vector<std::int32_t>& order = call.shuffle->order;
  std::uint8_t* y = call.y;
  for (std::int64_t group = 0; group < call.groups; ++group) {
    const std::uint8_t* x = call.x + group * call.x_step;
    for (const std::int32_t from : order) *y++ = x[from];
  }
}

void add_levels(const LevelSumsCall& call) {
  const std::uint8_t* x = call.x;
  for (std::int64_t pixel = 0; pixel < call.pixels; ++pixel, x += call.stride)
    for (std::int64_t c = 0; c < call.channels; ++c) {
      const std::uint32_t integer = x[c], least = call.off[c], above = integer > least ? integer - least : 0u;
      call.counts[c] += integer > least ? 1u : 0u;
      call.totals[c] += above;
      call.squares[c] += above * above;
    }
}

}  // namespace

void look_up_bytes(const std::uint8_t* x, std::size_t count, const std::uint8_t* table, std::uint8_t* y) {
  for (std::size_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

void look_up_channels(const ChannelLookupCall& call) {
  const std::uint8_t* x = call.x;
  std::uint8_t* y = call.y;
  for (std::int64_t position = 0; position < call.positions; ++position) {
    const std::uint8_t* table = call.tables;
    for (std::int64_t c = 0; c < call.channels; ++c, table += 256) y[c] = table[x[c]];
    x += call.channels;
    y += call.channels;
  }
}

void as_differences(const std::uint8_t* table, std::uint8_t* differences) {
  for (int at = 0; at < 256; ++at)
    differences[at] = at % 128 < 16 ? table[at] : static_cast<std::uint8_t>(table[at] ^ table[at - 16]);
}

const StepLoops kScalarSteps{Isa::kScalar, multiply, look_up_bytes, look_up_channels, nullptr, largest,
                             average,      add_up,   mix_columns,   mix_lines,        shuffle, add_levels};

#ifdef OAQ_X86
namespace {

// Those of AVX-512 but for tables by channel. Put together here, by code for any CPU, and when it is first asked for:
// files built for one instruction set run nothing as the module is loaded.
const StepLoops& vbmi_steps() {
  static const StepLoops loops = [] {
    StepLoops changed = kAvx512bwSteps;
    changed.isa = Isa::kVbmi;
    changed.lookup_channels = lookup_channels_vbmi;
    return changed;
  }();
  return loops;
}

}  // namespace
#endif

const StepLoops& step_loops(Isa isa) {
#ifdef OAQ_X86
  const Isas included = included_in(isa);
  if (included & bit(Isa::kVbmi)) return vbmi_steps();
  if (included & bit(Isa::kAvx512bw)) return kAvx512bwSteps;
  if (included & bit(Isa::kAvx2)) return kAvx2Steps;
#endif
#ifdef OAQ_ARM64
  if (included_in(isa) & bit(Isa::kNeon)) return kNeonSteps;
#endif
#ifdef OAQ_WASM
  if (included_in(isa) & bit(Isa::kSimd128)) return kSimd128Steps;
#endif
  static_cast<void>(isa);
  return kScalarSteps;
}

}  // namespace oaq
