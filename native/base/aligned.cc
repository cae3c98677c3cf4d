// Memory whose first byte is on a cache line: from the heap, and from pages of its own where it is large.
#include "base/aligned.h"

#include <sys/mman.h>

#include <new>

namespace oaq {
namespace {

constexpr std::size_t kMapped = std::size_t{128} << 10;  // from here on

}  // namespace

void* allocate_lines(std::size_t bytes) {
  if (bytes < kMapped) return ::operator new(bytes, std::align_val_t{kLine});
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  return mapped;
}

void free_lines(void* pointer, std::size_t bytes) {
  if (bytes < kMapped)
    ::operator delete(pointer, std::align_val_t{kLine});
  else
    munmap(pointer, bytes);
}

}  // namespace oaq
