// Add on NEON.
#include "base/arm/neon.h"
#include "steps/add_loops.h"

namespace oaq {

std::size_t add_neon(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                     std::uint8_t* y) {
  return vector_add<Neon>(a, b, count, numbers, y);
}

}  // namespace oaq
