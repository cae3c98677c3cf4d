// Pages of memory from the system, where a step outside of them can be made to end the process.
#pragma once

#include <cstddef>

namespace oaq {

std::size_t page_size();

// Addresses that nothing else takes; a touch ends the process until open_pages. Throws std::bad_alloc.
void* reserve_pages(std::size_t bytes);
// Makes whole pages of a reservation readable, writable and 0; false: the system has no memory for them.
bool open_pages(void* begin, std::size_t bytes);
// Says that large pages would suit; the system may not have any.
void advise_large_pages(void* begin, std::size_t bytes);
// Gives a whole reservation back.
void release_pages(void* pages, std::size_t bytes);

}  // namespace oaq
