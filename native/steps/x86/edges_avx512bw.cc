// Bytes of inputs and outputs on zmm registers.
#include "base/x86/zmm.h"
#include "steps/x86/edges.h"

namespace oaq {

const EdgeLoops kAvx512bwEdges{Isa::kAvx512bw, vector_to_reals<Zmm>, transpose_sixteen, interleave_three};

}  // namespace oaq
