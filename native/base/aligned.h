// Vectors whose storage starts on a cache line.
#pragma once

#include <cstddef>
#include <vector>

namespace oaq {

inline constexpr std::size_t kLine = 64;

// Bytes that vector loads may read, and gathering may write, past the end of what they are after. Every buffer they
// touch has so many to spare.
inline constexpr std::size_t kSlack = 64;

// Large ones are mapped one by one, so that freeing one gives its memory back at once. Throws std::bad_alloc.
void* allocate_lines(std::size_t bytes);
void free_lines(void* pointer, std::size_t bytes);

template <typename T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}  // NOLINT: allocators convert
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_lines(count * sizeof(T) + kSlack)); }
  void deallocate(T* pointer, std::size_t count) { free_lines(pointer, count * sizeof(T) + kSlack); }
  bool operator==(const LineAllocator&) const { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace oaq
