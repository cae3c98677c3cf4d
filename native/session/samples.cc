// A chunk is a sample, or a few where there are very many. No arithmetic on tensors.
#include "session/samples.h"

#include <algorithm>

namespace oaq {
namespace {

constexpr std::chrono::milliseconds kAskEvery{50};

}  // namespace

bool Question::is_stopped() {
  if (!stop_ || Clock::now() - last_asked_ < kAskEvery) return false;
  if (stop_(context_)) return true;
  last_asked_ = Clock::now();
  return false;
}

int WholeSamples::chunks(std::uint32_t) const {
  return static_cast<int>(std::min(samples_, std::int64_t{kMostChunks}));
}

void WholeSamples::compute(std::uint32_t, int chunk, int chunks, int thread) {
  const Arena& arena = *network_.arenas[static_cast<std::size_t>(thread)];
  const auto cut = [&](int c) { return samples_ / chunks * c + samples_ % chunks * c / chunks; };
  for (std::int64_t sample = cut(chunk); sample < cut(chunk + 1); ++sample) {
    if (is_stopped()) return;
    if (thread == 0 && question_.is_stopped()) {
      stopped_.store(true, std::memory_order_relaxed);
      return;
    }
    ends_.copy_in(network_, sample, arena);
    Network::Clock::time_point begin = Network::Clock::now();
    for (std::uint32_t step = 0; step < network_.steps.size(); ++step) {
      network_.compute(step, 0, 1, arena, thread);
      begin = network_.add_time(step, begin);
    }
    ends_.copy_out(network_, sample, arena);
  }
}

std::int64_t whole_samples(std::int64_t batch, int threads) {
  if (threads == 1) return 0;
  const std::int64_t remain = batch % threads;
  return 4 * remain > 3 * std::int64_t{threads} ? batch : batch - remain;
}

}  // namespace oaq
