// Add on zmm registers.
#include "base/x86/zmm.h"
#include "steps/add_loops.h"

namespace oaq {

std::size_t add_avx512bw(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                         std::uint8_t* y) {
  return vector_add<Zmm>(a, b, count, numbers, y);
}

}  // namespace oaq
