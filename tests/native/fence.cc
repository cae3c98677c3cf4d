// malloc and its family with pages around every block that nobody may touch: loaded before everything else, a read or
// write outside a block, or of one that has been freed, ends the process.
//
// A block ends where a page begins (kEnd; up to its alignment) or begins where one ends (kStart). Memory is taken from
// one reserved range and never used again. Off until fence() says otherwise: the caller chooses what it is for.
#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

constexpr std::size_t kPage = 4096, kRange = std::size_t{1} << 38, kPages = kRange / kPage, kAlignment = 16;
enum Mode { kOff, kEnd, kStart };

struct Block {
  std::size_t size;
  std::size_t first_page;
  std::size_t pages;
};

std::atomic<int> mode{kOff};
std::atomic<std::size_t> next_page{1}, count{0};
std::uint8_t* range = nullptr;
Block* blocks = nullptr;  // by the page in which a block begins

std::size_t page_of(const void* pointer) {
  return static_cast<std::size_t>(static_cast<const std::uint8_t*>(pointer) - range) / kPage;
}

bool ours(const void* pointer) {
  const auto* at = static_cast<const std::uint8_t*>(pointer);
  return range && at >= range && at < range + kRange;
}

void* allocate(std::size_t size, std::size_t alignment) {
  const std::size_t pages = (size + kPage - 1) / kPage + (size == 0);
  const std::size_t first = next_page.fetch_add(pages + 1);  // one page more: the fence to the next block
  if (alignment > kPage || size > kRange || first + pages >= kPages) return nullptr;
  std::uint8_t* start = range + first * kPage;
  if (mprotect(start, pages * kPage, PROT_READ | PROT_WRITE)) return nullptr;
  std::memset(start, 0xA5, pages * kPage);  // nobody may count on zeros
  std::uint8_t* block = mode == kStart ? start : start + (pages * kPage - size) / alignment * alignment;
  blocks[page_of(block)] = {size, first, pages};
  count.fetch_add(1);
  return block;
}

void release(void* block) {
  const Block& found = blocks[page_of(block)];
  mprotect(range + found.first_page * kPage, found.pages * kPage, PROT_NONE);
}

}  // namespace

extern "C" {

// 0: blocks are the C library's; 1: a fence right behind each; 2: right before each. Returns how many blocks there are
// so far, or -1 if the range cannot be reserved.
long fence(int wanted) {
  if (!range) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* bytes = mmap(nullptr, kRange, PROT_NONE, flags, -1, 0);
    void* table = mmap(nullptr, kPages * sizeof(Block), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (bytes == MAP_FAILED || table == MAP_FAILED) return -1;
    blocks = static_cast<Block*>(table);
    range = static_cast<std::uint8_t*>(bytes);
  }
  mode = wanted;
  return static_cast<long>(count.load());
}

void* malloc(std::size_t size) { return mode ? allocate(size, kAlignment) : __libc_malloc(size); }

void free(void* block) { ours(block) ? release(block) : __libc_free(block); }

void* calloc(std::size_t number, std::size_t size) {
  std::size_t bytes;
  if (!mode) return __libc_calloc(number, size);
  if (__builtin_mul_overflow(number, size, &bytes)) return nullptr;
  void* block = allocate(bytes, kAlignment);
  return block ? std::memset(block, 0, bytes) : nullptr;
}

void* realloc(void* block, std::size_t size) {
  if (!ours(block)) return block || !mode ? __libc_realloc(block, size) : allocate(size, kAlignment);
  void* moved = mode ? allocate(size, kAlignment) : __libc_malloc(size);
  if (!moved) return nullptr;
  const std::size_t before = blocks[page_of(block)].size;
  std::memcpy(moved, block, before < size ? before : size);
  release(block);
  return moved;
}

void* memalign(std::size_t alignment, std::size_t size) {
  return mode ? allocate(size, alignment) : __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** to, std::size_t alignment, std::size_t size) {
  void* block = memalign(alignment, size);
  if (!block) return ENOMEM;
  *to = block;
  return 0;
}

std::size_t malloc_usable_size(void* block) {
  if (ours(block)) return blocks[page_of(block)].size;
  static const auto real = reinterpret_cast<std::size_t (*)(void*)>(dlsym(RTLD_NEXT, "malloc_usable_size"));
  return real(block);
}
}
