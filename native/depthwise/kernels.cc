// The functions behind each depthwise row, and the scalar one.
#include <cstring>
#include <stdexcept>
#include <string>

#include "depthwise/depthwise.h"

#ifdef OAQ_X86
extern "C" {
[[gnu::visibility("hidden")]] void oaq_depthwise_avx2_acc16_3x3(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_avx2_acc16_5x5(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_avx2_exact_3x3(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_avx2_exact_5x5(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_avx512bw_acc16_3x3(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_avx512bw_acc16_5x5(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_vnni_3x3(const oaq::DepthwiseCall*);
[[gnu::visibility("hidden")]] void oaq_depthwise_vnni_5x5(const oaq::DepthwiseCall*);
}
#endif

namespace oaq {
namespace {

constexpr int kTile = 8;

void scalar_sums(const DepthwiseCall* call) {
  for (std::int64_t output = 0; output < call->outputs; ++output) {
    std::int32_t* sums = call->sums + output * kTile;
    for (int c = 0; c < kTile; ++c) sums[c] = call->bias[c];
    const auto* w = static_cast<const std::int8_t*>(call->weights);
    const std::uint8_t* const* x = call->x;
    for (int run = 0; run < call->run_count; ++run) {
      for (int step = 0; step < call->runs[run]; ++step, x += 2, w += 2 * kTile) {
        const std::uint8_t* a = x[0] + output * call->x_step;
        const std::uint8_t* b = x[1] + output * call->x_step;
        for (int c = 0; c < kTile; ++c) sums[c] += a[c] * w[2 * c] + b[c] * w[2 * c + 1];
      }
    }
  }
}

void copy_pixels(const std::uint8_t* from, std::ptrdiff_t stride, int count, std::uint8_t* to) {
  for (int i = 0; i < count; ++i, from += stride, to += kTile) std::memcpy(to, from, kTile);
}

struct Entry {
  std::string_view row;
  DepthwiseKernel kernel;
};

constexpr Entry kKernels[] = {
    {"depthwise_u8s8_scalar", {0, false, 1, copy_pixels, scalar_sums, nullptr, nullptr}},
#ifdef OAQ_X86
    {"depthwise_u8s8_avx2_acc16",
     {8, true, 1, copy_pixels_avx2, depthwise_avx2_acc16, oaq_depthwise_avx2_acc16_3x3, oaq_depthwise_avx2_acc16_5x5}},
    {"depthwise_u8s8_avx2_exact",
     {8, false, 2, copy_pixels_avx2, depthwise_avx2_exact, oaq_depthwise_avx2_exact_3x3, oaq_depthwise_avx2_exact_5x5}},
    {"depthwise_u8s8_avx512bw_acc16",
     {16, true, 1, copy_pixels_avx512, depthwise_avx512bw_acc16, oaq_depthwise_avx512bw_acc16_3x3,
      oaq_depthwise_avx512bw_acc16_5x5}},
    {"depthwise_u8s8_vnni",
     {16, false, 1, copy_pixels_avx512, depthwise_vnni, oaq_depthwise_vnni_3x3, oaq_depthwise_vnni_5x5}},
#endif
};

}  // namespace

const DepthwiseKernel& depthwise_kernel(const Row& row) {
  for (const Entry& entry : kKernels)
    if (entry.row == row.name) return entry.kernel;
  throw std::invalid_argument("no depthwise kernel computes " + std::string(row.name));
}

}  // namespace oaq
