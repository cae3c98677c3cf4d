// The loops of steps without weights on WebAssembly's SIMD128. It chooses among sixteen bytes only, so tables of 256
// are looked up byte by byte.
#include "base/wasm/simd128.h"
#include "steps/vector_loops.h"

namespace oaq {

const StepLoops kSimd128Steps{Isa::kSimd128,
                              vector_multiply<Simd128>,
                              look_up_bytes,
                              look_up_channels,
                              vector_rescale<Simd128>,
                              vector_largest<Simd128>,
                              vector_average<Simd128>,
                              vector_add_up<Simd128>,
                              vector_mix_columns<Simd128>,
                              vector_mix_lines<Simd128>,
                              shuffle_sixteens<Simd128>,
                              vector_add_levels<Simd128>};

}  // namespace oaq
