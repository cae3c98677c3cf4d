// Requantization on WebAssembly's SIMD128.
#include "base/wasm/simd128.h"
#include "requantize/vector_loops.h"

namespace oaq {

const RequantLoops kSimd128Requant{Isa::kSimd128, vector_requantize_rows<Simd128>, vector_requantize_all<Simd128>};

}  // namespace oaq
