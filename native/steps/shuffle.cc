// Windows for an order of bytes: each begins at the first byte wanted that no window before it covers.
#include "steps/shuffle.h"

#include <algorithm>
#include <utility>

namespace oaq {

Shuffle::Shuffle(std::vector<std::int32_t> order_of_bytes) : order(std::move(order_of_bytes)) {
  constexpr std::size_t kPiece = 16;
  constexpr std::uint8_t kNone = 128;
  for (std::size_t first = 0; first < order.size(); first += kPiece) {
    const std::size_t count = std::min(kPiece, order.size() - first);
    std::vector<std::pair<std::int32_t, std::size_t>> wanted;  // input byte, output byte
    for (std::size_t i = 0; i < count; ++i) wanted.emplace_back(order[first + i], i);
    std::sort(wanted.begin(), wanted.end());
    for (const auto& [from, to] : wanted) {
      const bool is_covered = windows.size() > (ends.empty() ? 0 : ends.back()) && from - windows.back().from < 16;
      if (!is_covered) {
        windows.push_back({from, {}});
        windows.back().chosen.fill(kNone);
      }
      windows.back().chosen[to] = static_cast<std::uint8_t>(from - windows.back().from);
    }
    ends.push_back(windows.size());
  }
}

}  // namespace oaq
