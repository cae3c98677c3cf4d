// Bytes of inputs and outputs on NEON.
#include "base/arm/neon.h"
#include "steps/edge_loops.h"

namespace oaq {
namespace {

void interleave(const std::uint8_t* const* channels, std::int64_t count, std::uint8_t* q) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const uint8x16x3_t pixels = {{vld1q_u8(channels[0] + i), vld1q_u8(channels[1] + i), vld1q_u8(channels[2] + i)}};
    vst3q_u8(q + 3 * i, pixels);
  }
  for (; i < count; ++i)
    for (int channel = 0; channel < 3; ++channel) q[3 * i + channel] = channels[channel][i];
}

}  // namespace

const EdgeLoops kNeonEdges{Isa::kNeon, vector_to_reals<Neon>, transpose_sixteen<Neon>, interleave,
                           separate_three<Neon>};

}  // namespace oaq
