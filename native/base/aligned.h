// Vectors whose storage starts on a cache line.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace oaq {

inline constexpr std::size_t kLine = 64;

// Bytes that vector loads may read, and gathering may write, past the end of what they are after. Every buffer they
// touch has so many to spare.
inline constexpr std::size_t kSlack = 64;

template <typename T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}  // NOLINT: allocators convert
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T) + kSlack, std::align_val_t{kLine}));
  }
  void deallocate(T* pointer, std::size_t) { ::operator delete(pointer, std::align_val_t{kLine}); }
  bool operator==(const LineAllocator&) const { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace oaq
