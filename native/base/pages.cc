// Pages of memory: mmap, VirtualAlloc on Windows, and the heap of WebAssembly, whose pages cannot be closed. Nothing is
// computed.
#include "base/pages.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#elif defined(__wasm__)
#include <cstdlib>
#include <cstring>
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

#elif defined(__wasm__)

std::size_t page_size() { return 64; }  // no page is protected, so none needs more than a cache line

void* reserve_pages(std::size_t bytes) {
  void* pages = std::aligned_alloc(page_size(), (bytes + page_size() - 1) / page_size() * page_size());
  if (pages == nullptr) throw std::bad_alloc();
  std::memset(pages, 0, bytes);  // as mmap does
  return pages;
}

bool open_pages(void*, std::size_t) { return true; }

void advise_large_pages(void*, std::size_t) {}

void release_pages(void* pages, std::size_t) { std::free(pages); }

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
