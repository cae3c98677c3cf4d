// Fields of a plan's bytes (docs/plan-format.md), read one after another inside bounds that nothing leaves.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/table.h"
#include "conv/conv.h"
#include "requantize/requantize.h"
#include "step.h"
#include "steps/steps.h"

namespace oaq {

// The bytes are not a plan that this machine runs; says where and why.
struct PlanError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The plan needs more memory than allowed.
struct MemoryExceeded : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Memory that loading and running take, against a limit.
class Budget {
 public:
  explicit Budget(std::size_t limit) : limit_(limit) {}

  // Throws MemoryExceeded: all together is more than the limit.
  void take(std::size_t bytes, std::string_view purpose);
  std::size_t limit() const { return limit_; }

 private:
  std::size_t limit_, taken_ = 0;
};

// The part of the bytes where arrays lie. Arrays come in the order of the records that name them, each on a multiple of
// 64 and none before the end of the last, so that all arrays together are no larger than the bytes. Packed weights
// alone may be those of an earlier step.
class Arrays {
 public:
  Arrays(std::span<const std::uint8_t> plan, std::size_t begin) : plan_(plan), end_(begin) {}

  std::span<const std::uint8_t> at(std::uint64_t offset, std::uint64_t bytes);

  struct Weights {
    std::span<const std::uint8_t> bytes;
    bool is_repeated;  // an earlier step has them
  };
  Weights weights_at(std::uint64_t offset, std::uint64_t bytes);

 private:
  std::span<const std::uint8_t> plan_;
  std::size_t end_;                                 // of the last array
  std::map<std::uint64_t, std::uint64_t> weights_;  // bytes of the packed weights at each offset
};

// Reads fields from the front of `bytes`; throws PlanError where they end too early.
class Cursor {
 public:
  Cursor(std::span<const std::uint8_t> bytes, Arrays& arrays) : bytes_(bytes), arrays_(&arrays) {}

  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::int32_t i32() { return number<std::int32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  float f32() { return number<float>(); }

  template <std::size_t kCount>
  std::array<int, kCount> ints() {
    std::array<int, kCount> result;
    for (int& value : result) value = i32();
    return result;
  }

  // Its length, that many bytes of UTF-8 without zeros, and zeros up to a multiple of four.
  std::string_view text();

  // The fields of a record of so many bytes.
  Cursor part(std::size_t bytes) { return {take(bytes), *arrays_}; }

  // An array where it lies; no copy.
  std::span<const std::uint8_t> array();

  // Packed weights where they lie, which may be those of an earlier step; no copy.
  Arrays::Weights weights();

  // A copy of an array of numbers, which may lie anywhere in memory.
  template <typename T>
  std::vector<T> numbers() {
    static_assert(std::endian::native == std::endian::little && std::is_trivially_copyable_v<T>);
    const std::span<const std::uint8_t> raw = array();
    if (raw.size() % sizeof(T))
      throw PlanError("an array of " + std::to_string(raw.size()) + " bytes ends in a number");
    std::vector<T> result(raw.size() / sizeof(T));
    if (!raw.empty()) std::memcpy(result.data(), raw.data(), raw.size());
    return result;
  }

  // A kind (0: float, 1 and 2: fixed-point, 3: tables of residues), then its arrays.
  Multipliers multipliers();
  Clamp clamp();
  Window window();
  Planes planes();
  // Multipliers, zero point, clamp. Tables of residues are of operators that sum products only: PlanError elsewhere.
  Output output();
  Output output_of_products();

  std::size_t size() const { return bytes_.size(); }

 private:
  std::span<const std::uint8_t> take(std::size_t bytes);

  template <typename T>
  T number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::span<const std::uint8_t> bytes_;
  Arrays* arrays_;
};

// One step as the bytes describe it: a row that this CPU runs, where tensors lie, and the fields of its operator.
struct StepRecord {
  const Row& row;
  std::vector<Place> x;
  Place y;
  Cursor fields;
  Budget& memory;

  // The only input of an operator with one.
  const Place& input() const;
  // Throws PlanError: there are more or fewer.
  void require_inputs(std::size_t count) const;
};

// What a kernel family makes of a record; each stands beside its step. Throws PlanError or std::invalid_argument.
using Parse = std::unique_ptr<Step> (*)(StepRecord& record);
#define STEP(code, family) std::unique_ptr<Step> parse_##family(StepRecord& record);
#define VOLUMES(code, family) std::unique_ptr<Step> parse_##family##_volume(StepRecord& record);
#include "steps/steps.inc"
#undef VOLUMES
#undef STEP

}  // namespace oaq
