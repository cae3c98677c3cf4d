// How every vector row computes a line of outputs under any window, whatever its arithmetic; 3x3 and 5x5 windows have
// generated loops (generate.py). Included by files built for one
// instruction set; everything is in an unnamed namespace, so that each has its own. A file says what its arithmetic is:
//
//   Sums      s32 sums of a tile of channels; biased(bias), store(bytes, y), packed(call, sums) and write(sums, to), of
//             sums four by four in 128-bit parts, are known of it
//   Rule      kTaps: taps of a step; add(state, x, weights): one step into State
//             State: Sums; or narrower sums, which none() clears, and spill(sums, state) adds to Sums
//             in_order(bytes), in_order(sums): from the order of Sums to that of channels
#pragma once

#include <type_traits>

#include "depthwise/depthwise.h"

namespace oaq {
namespace {

template <typename Rule>
struct Taps {
  const std::uint8_t* at[static_cast<std::size_t>(Rule::kTaps)];

  const std::uint8_t* operator[](int tap) const { return at[tap]; }
};

template <typename Rule>
inline constexpr bool kSpills = !std::is_same_v<typename Rule::State, typename Rule::Sums>;

template <typename Rule>
inline const std::int8_t* weights_of(const DepthwiseCall& call, int step) {
  return static_cast<const std::int8_t*>(call.weights) + static_cast<std::ptrdiff_t>(step) * Rule::kStepBytes;
}

template <typename Rule>
inline void put(const DepthwiseCall& call, std::int64_t output, const typename Rule::Sums& sums) {
  if (call.sums)
    write(Rule::in_order(sums), call.sums + output * Rule::Sums::kTile);
  else
    Rule::Sums::store(Rule::in_order(packed(call, sums)), call.y + output * call.y_stride);
}

// Any window, and steps in any order.
template <typename Rule>
inline void any_window(const DepthwiseCall& call) {
  const DepthwiseCall local = call;  // a copy, so that stores to y are known not to change it
  for (std::int64_t output = 0; output < local.outputs; ++output) {
    auto sums = Rule::Sums::biased(local.bias);
    for (int run = 0, step = 0; run < local.run_count; ++run) {
      [[maybe_unused]] typename Rule::State state;
      if constexpr (kSpills<Rule>) state = Rule::none();
      for (const int end = step + local.runs[run]; step < end; ++step) {
        Taps<Rule> x;
        for (int tap = 0; tap < Rule::kTaps; ++tap)
          x.at[tap] = local.x[Rule::kTaps * step + tap] + output * local.x_step;
        if constexpr (kSpills<Rule>)
          Rule::add(state, x, weights_of<Rule>(local, step));
        else
          Rule::add(sums, x, weights_of<Rule>(local, step));
      }
      if constexpr (kSpills<Rule>) Rule::spill(sums, state);
    }
    put<Rule>(local, output, sums);
  }
}

}  // namespace
}  // namespace oaq
