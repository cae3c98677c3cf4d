// Maps the arena between two pages without access, so that a step outside it ends the process. Nothing is computed.
#include "session/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#include "base/aligned.h"

namespace oaq {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

Arena::Arena(std::size_t bytes) : bytes_(bytes) {
  const auto small = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t used = (bytes + kLine - 1) / kLine * kLine + kSlack;
  const bool is_large = used >= kHugePage;
  const std::size_t page = is_large ? kHugePage : small, inside = (used + page - 1) / page * page;
  mapped_ = inside + 2 * page;
  void* mapped = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<std::uint8_t*>(mapped);
  const auto over = reinterpret_cast<std::uintptr_t>(pages_) % page;
  std::uint8_t* begin = pages_ + page - over;  // what lies before and behind stays untouchable
  if (is_large) static_cast<void>(madvise(begin, inside, MADV_HUGEPAGE));  // advice: there may be none
  if (mprotect(begin, inside, PROT_READ | PROT_WRITE)) {
    munmap(pages_, mapped_);
    throw std::bad_alloc();
  }
  data_ = begin + inside - used;
}

Arena::~Arena() { munmap(pages_, mapped_); }

}  // namespace oaq
