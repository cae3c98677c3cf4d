// Floats in NEON registers: what loops of float parts and of dynamic layers both do with them. Included by files built
// for one instruction set each; everything is in an unnamed namespace, so that each has its own. min and max give the
// second operand where the first is NaN.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace oaq {
namespace {

struct NeonFloats {
  using Floats = float32x4_t;
  static constexpr int kWidth = 4;

  static Floats all(float value) { return vdupq_n_f32(value); }
  static Floats load(const float* from) { return vld1q_f32(from); }
  static Floats load_some(const float* from, std::int64_t count) {
    float some[kWidth] = {};
    std::memcpy(some, from, bytes_of(count));
    return load(some);
  }
  static void store(float* to, Floats value) { vst1q_f32(to, value); }
  static void store_some(float* to, Floats value, std::int64_t count) {
    float all_of_them[kWidth];
    store(all_of_them, value);
    std::memcpy(to, all_of_them, bytes_of(count));
  }
  static std::size_t bytes_of(std::int64_t count) {
    return static_cast<std::size_t>(count < kWidth ? count : kWidth) * sizeof(float);
  }
  // FMIN and FMINNM would not give the second of both.
  static Floats min(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static Floats max(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static Floats abs(Floats value) { return vabsq_f32(value); }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
  static Floats round(Floats value) { return vrndnq_f32(value); }
};

}  // namespace
}  // namespace oaq
