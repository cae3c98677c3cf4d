// Add on WebAssembly's SIMD128.
#include "base/wasm/simd128.h"
#include "steps/add_loops.h"

namespace oaq {

std::size_t add_simd128(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                        std::uint8_t* y) {
  return vector_add<Simd128>(a, b, count, numbers, y);
}

}  // namespace oaq
