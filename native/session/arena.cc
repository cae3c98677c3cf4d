#include "session/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "base/aligned.h"

namespace oaq {

Arena::Arena(std::size_t bytes) : bytes_(bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t used = (bytes + kLine - 1) / kLine * kLine + kSlack;
  const std::size_t inside = (used + page - 1) / page * page;
  mapped_ = inside + 2 * page;
  void* mapped = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<std::uint8_t*>(mapped);
  if (mprotect(pages_ + page, inside, PROT_READ | PROT_WRITE)) {
    munmap(pages_, mapped_);
    throw std::bad_alloc();
  }
  data_ = pages_ + page + inside - used;
}

Arena::~Arena() { munmap(pages_, mapped_); }

}  // namespace oaq
