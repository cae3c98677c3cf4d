// The loops of steps without weights on ymm registers.
#include "base/x86/ymm.h"
#include "steps/x86/vector_loops.h"

namespace oaq {

const StepLoops kAvx2Steps{
    Isa::kAvx2,          vector_multiply<Ymm>, vector_lookup<Ymm>,      vector_rescale<Ymm>,   vector_largest<Ymm>,
    vector_average<Ymm>, vector_add_up<Ymm>,   vector_mix_columns<Ymm>, vector_mix_lines<Ymm>, shuffle_sixteens};

}  // namespace oaq
