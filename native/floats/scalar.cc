// The loops of float parts for any CPU: vectors of one float.
#include <cmath>
#include <cstdint>
#include <limits>

#include "floats/vector_loops.h"

namespace oaq {
namespace {

struct Single {
  using Floats = float;
  static constexpr int kWidth = 1, kTileRows = 4, kTileVectors = 2;

  static float all(float value) { return value; }
  static float load(const float* from) { return *from; }
  static float load_some(const float* from, std::int64_t count) { return count > 0 ? *from : 0.0f; }
  static void store(float* to, float value) { *to = value; }
  static void store_some(float* to, float value, std::int64_t count) {
    if (count > 0) *to = value;
  }
  static float first_of(float value, std::int64_t count) { return count > 0 ? value : 0.0f; }
  static float first_or_least(float value, std::int64_t count) {
    return count > 0 ? value : -std::numeric_limits<float>::infinity();
  }
  static float min(float a, float b) { return a < b ? a : b; }
  static float max(float a, float b) { return a > b ? a : b; }
  static float abs(float value) { return std::fabs(value); }
  static float mul(float a, float b) { return a * b; }
  static float add(float a, float b) { return a + b; }
  static float sub(float a, float b) { return a - b; }
  static float fma(float a, float b, float c) { return static_cast<float>(static_cast<double>(a) * b + c); }
  static float round(float value) { return std::nearbyint(value); }
  static float scaled(float value, float power) {  // a power that is NaN has a value that is
    return power == power ? std::ldexp(value, static_cast<int>(power)) : value;
  }
  static float zero_below(float value, float x, float limit) { return x < limit ? 0.0f : value; }
  static float if_negative(float x, float yes, float no) { return std::signbit(x) ? yes : no; }
};

}  // namespace

const FloatLoops kScalarFloats = loops_on<Single>(Isa::kScalar);

const FloatLoops& float_loops(Isa isa) {
#ifdef OAQ_X86
  const Isas included = included_in(isa);
  if (included & bit(Isa::kAvx512bw)) return kAvx512bwFloats;
  if (included & bit(Isa::kAvx2)) return kAvx2Floats;
#endif
#ifdef OAQ_ARM64
  if (included_in(isa) & bit(Isa::kNeon)) return kNeonFloats;
#endif
  static_cast<void>(isa);
  return kScalarFloats;
}

}  // namespace oaq
