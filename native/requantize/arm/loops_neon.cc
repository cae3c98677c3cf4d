// Requantization on NEON.
#include "base/arm/neon.h"
#include "requantize/vector_loops.h"

namespace oaq {

const RequantLoops kNeonRequant{Isa::kNeon, vector_requantize_rows<Neon>, vector_requantize_all<Neon>};

}  // namespace oaq
