// Maps the arena between two pages without access, so that a step outside it ends the process. Nothing is computed.
#include "session/arena.h"

#include <cstdint>
#include <new>

#include "base/aligned.h"
#include "base/pages.h"

namespace oaq {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

Arena::Arena(std::size_t bytes) : bytes_(bytes) {
  const std::size_t small = page_size();
  const std::size_t used = (bytes + kLine - 1) / kLine * kLine + kSlack;
  const bool is_large = used >= kHugePage;
  const std::size_t page = is_large ? kHugePage : small, inside = (used + page - 1) / page * page;
  mapped_ = inside + 2 * page;
  pages_ = static_cast<std::uint8_t*>(reserve_pages(mapped_));
  const auto over = reinterpret_cast<std::uintptr_t>(pages_) % page;
  std::uint8_t* begin = pages_ + page - over;  // what lies before and behind stays untouchable
  if (is_large) advise_large_pages(begin, inside);
  if (!open_pages(begin, inside)) {
    release_pages(pages_, mapped_);
    throw std::bad_alloc();
  }
  data_ = begin + inside - used;
}

Arena::~Arena() { release_pages(pages_, mapped_); }

}  // namespace oaq
