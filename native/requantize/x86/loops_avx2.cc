// Requantization on ymm registers.
#include "base/x86/ymm.h"
#include "requantize/vector_loops.h"

namespace oaq {

const RequantLoops kAvx2Requant{Isa::kAvx2, vector_requantize_rows<Ymm>, vector_requantize_all<Ymm>};

}  // namespace oaq
