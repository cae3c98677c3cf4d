// Bytes of inputs and outputs on WebAssembly's SIMD128.
#include "base/wasm/simd128.h"
#include "steps/edge_loops.h"

namespace oaq {

const EdgeLoops kSimd128Edges{Isa::kSimd128, vector_to_reals<Simd128>, transpose_sixteen<Simd128>,
                              interleave_three<Simd128>, separate_three<Simd128>};

}  // namespace oaq
