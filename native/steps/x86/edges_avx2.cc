// Bytes of inputs and outputs on ymm registers.
#include "base/x86/ymm.h"
#include "steps/x86/edges.h"

namespace oaq {

const EdgeLoops kAvx2Edges{Isa::kAvx2, vector_to_reals<Ymm>, transpose_sixteen, interleave_three};

}  // namespace oaq
