// A run in one thread, which is what runs of several threads must be equal to. Nothing is computed.
#include "base/work.h"

namespace oaq {

void run_alone(Work& work) {
  const ThreadState state(work.isas());
  for (std::uint32_t stage = 0; stage < work.stages(); ++stage) {
    work.compute(stage, 0, 1, 0);
    work.complete(stage);
  }
}

}  // namespace oaq
