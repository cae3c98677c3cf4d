// The loops behind each row that looks sums up, from rows.inc; none of them is here.
#include <stdexcept>
#include <string>

#include "lookup/lookup.h"

namespace oaq {

namespace {

struct Entry {
  std::string_view row;
  const LookupLoops* loops;
};

// Begun with a row of no name, for where there is none.
const Entry kEntries[] = {
    {"", nullptr},
#define LOOKUP(name, isa, sums, x, w, m, functions) {#name, &functions},
#define GEMM(...)
#define DEPTHWISE(...)
#define ADD(...)
#define OTHER(...)
#include "rows.inc"
};

}  // namespace

const LookupLoops* lookup_loops(const Row& row) {
  for (const Entry& entry : kEntries)
    if (entry.row == row.name) return entry.loops;
  return nullptr;
}

}  // namespace oaq
