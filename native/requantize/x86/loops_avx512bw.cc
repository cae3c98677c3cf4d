// Requantization on zmm registers.
#include "base/x86/zmm.h"
#include "requantize/vector_loops.h"

namespace oaq {

const RequantLoops kAvx512bwRequant{Isa::kAvx512bw, vector_requantize_rows<Zmm>, vector_requantize_all<Zmm>};

}  // namespace oaq
