// Copies samples between the caller's arrays and an arena, and shares out times. No arithmetic on tensors.
#include "session/network.h"

#include <cstring>

namespace oaq {

Network::Clock::time_point Network::add_time(std::uint32_t step, Clock::time_point begin) {
  const Clock::time_point end = Clock::now();
  spent[step].fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count(),
                        std::memory_order_relaxed);
  return end;
}

void Network::share_out(Clock::duration passed, std::span<const std::uint32_t> computed) {
  const auto total = static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count());
  double all = 0;
  for (const std::uint32_t step : computed) all += static_cast<double>(spent[step].load(std::memory_order_relaxed));
  for (const std::uint32_t step : computed) {
    const auto own = static_cast<double>(spent[step].exchange(0, std::memory_order_relaxed));
    nanoseconds[step] += static_cast<std::int64_t>(all > 0 ? total * own / all : 0);
  }
}

void Ends::copy_in(const Network& network, std::int64_t sample, const Arena& arena) const {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::size_t bytes = network.inputs[i].bytes();
    std::memcpy(arena.data() + network.inputs[i].offset, inputs[i] + static_cast<std::size_t>(sample) * bytes, bytes);
  }
}

void Ends::copy_out(const Network& network, std::int64_t sample, const Arena& arena) const {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::size_t bytes = network.outputs[i].bytes();
    std::memcpy(outputs[i] + static_cast<std::size_t>(sample) * bytes, arena.data() + network.outputs[i].offset, bytes);
  }
}

}  // namespace oaq
