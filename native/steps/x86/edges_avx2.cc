// Bytes of inputs and outputs on ymm registers.
#include "base/x86/ymm.h"
#include "steps/edge_loops.h"

namespace oaq {

const EdgeLoops kAvx2Edges{Isa::kAvx2, vector_to_reals<Ymm>, transpose_sixteen<Xmm>, interleave_three<Xmm>,
                           separate_three<Xmm>};

}  // namespace oaq
