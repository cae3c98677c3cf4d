// Pages of memory: mmap, and VirtualAlloc on Windows. Nothing is computed.
#include "base/pages.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <new>

namespace oaq {

#ifdef _WIN32

std::size_t page_size() {
  SYSTEM_INFO system{};
  GetSystemInfo(&system);
  return system.dwPageSize;
}

void* reserve_pages(std::size_t bytes) {
  void* pages = VirtualAlloc(nullptr, bytes, MEM_RESERVE, PAGE_NOACCESS);
  if (pages == nullptr) throw std::bad_alloc();
  return pages;
}

bool open_pages(void* begin, std::size_t bytes) {
  return VirtualAlloc(begin, bytes, MEM_COMMIT, PAGE_READWRITE) != nullptr;
}

void advise_large_pages(void*, std::size_t) {}

void release_pages(void* pages, std::size_t) { VirtualFree(pages, 0, MEM_RELEASE); }

#else

std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

void* reserve_pages(std::size_t bytes) {
  void* pages = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return pages;
}

bool open_pages(void* begin, std::size_t bytes) { return mprotect(begin, bytes, PROT_READ | PROT_WRITE) == 0; }

void advise_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  static_cast<void>(madvise(begin, bytes, MADV_HUGEPAGE));
#endif
}

void release_pages(void* pages, std::size_t bytes) { munmap(pages, bytes); }

#endif

}  // namespace oaq
