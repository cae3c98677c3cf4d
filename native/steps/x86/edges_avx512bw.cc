// Bytes of inputs and outputs on zmm registers.
#include "base/x86/zmm.h"
#include "steps/edge_loops.h"

namespace oaq {

const EdgeLoops kAvx512bwEdges{Isa::kAvx512bw, vector_to_reals<Zmm>, transpose_sixteen<Xmm>, interleave_three<Xmm>,
                               separate_three<Xmm>};

}  // namespace oaq
