// Copies of windows on AVX2, 32 bytes at a time. Nothing is computed.
#include <immintrin.h>

#include "conv/copy_loop.h"

namespace oaq {
namespace {

struct Piece {
  static constexpr int kBytes = kCopyBytesAvx2;
  static void copy(std::uint8_t* to, const std::uint8_t* from) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
};
static_assert(Piece::kBytes <= kCopySlack);

}  // namespace

void copy_windows_avx2(const WindowCopies& windows) { copy_all<Piece>(windows); }

}  // namespace oaq
