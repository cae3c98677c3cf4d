// Memory whose first byte is on a cache line: from the heap, and from pages of its own where it is large.
#include "base/aligned.h"

#include <new>

#include "base/pages.h"

namespace oaq {
namespace {

constexpr std::size_t kMapped = std::size_t{128} << 10;  // from here on

}  // namespace

void* allocate_lines(std::size_t bytes) {
  if (bytes < kMapped) return ::operator new(bytes, std::align_val_t{kLine});
  void* pages = reserve_pages(bytes);
  if (!open_pages(pages, bytes)) {
    release_pages(pages, bytes);
    throw std::bad_alloc();
  }
  return pages;
}

void free_lines(void* pointer, std::size_t bytes) {
  if (bytes < kMapped)
    ::operator delete(pointer, std::align_val_t{kLine});
  else
    release_pages(pointer, bytes);
}

}  // namespace oaq
