// The loops of float parts on vectors V of floats. Included by files built for one instruction set each; everything is
// in an unnamed namespace, so that each has its own.
//
// Of V: kWidth floats; tiles of kTileRows rows and kTileVectors vectors are what its registers hold. min and max give
// the second operand where the first is NaN.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "floats/loops.h"

namespace oaq {
namespace {

constexpr float kLog2E = 1.44269504f, kLog2ERest = 1.92596299e-8f;
constexpr float kLeastPower = -126.0f;  // below it, 2 to that power counts as 0
constexpr float kFarOut = 5.6f;         // from here on, x * P(normal < -x) is below 2^-23
// 2^r for r in [-0.5, 0.5], and log2 of P(normal < -u) for u in [0, kFarOut]: least greatest errors 7.6e-8 and 2.2e-7,
// fitted in float64 (Chebyshev points, weights raised where the error is greatest).
constexpr float kPower[] = {1.00000012f, 0.693147242f, 0.240221068f, 0.0555029735f, 0.00967603642f, 0.00134099997f};
constexpr float kTail[] = {-0.99999976f,     -1.15111363f,     -0.459153354f,    -0.0526234284f,
                           0.00719146617f,   -0.000184616452f, -0.000196535169f, 5.37078377e-05f,
                           -7.26387634e-06f, 5.29527597e-07f,  -1.65327236e-08f};

template <typename V, std::size_t kCount>
typename V::Floats polynomial(const float (&coefficients)[kCount], typename V::Floats x) {
  auto result = V::all(coefficients[kCount - 1]);
  for (std::size_t i = kCount - 1; i-- > 0;) result = V::fma(result, x, V::all(coefficients[i]));
  return result;
}

// 2 to the power of whole + part, for whole >= -126.
template <typename V>
typename V::Floats power_of_two(typename V::Floats whole, typename V::Floats part) {
  return V::scaled(polynomial<V>(kPower, part), whole);
}

// e^x of x <= 0; NaN stays.
template <typename V>
typename V::Floats exp_below_zero(typename V::Floats x) {
  const auto least = V::all(kLeastPower / kLog2E);
  const auto inside = V::max(least, x);
  const auto whole = V::round(V::mul(inside, V::all(kLog2E)));
  const auto part = V::fma(inside, V::all(kLog2ERest), V::fma(inside, V::all(kLog2E), V::sub(V::all(0.0f), whole)));
  return V::zero_below(power_of_two<V>(whole, part), x, least);
}

template <typename V>
typename V::Floats gelu_of(typename V::Floats x) {
  const auto u = V::abs(x), far_out = V::all(kFarOut);
  const auto power = polynomial<V>(kTail, V::min(far_out, u));
  const auto whole = V::round(power);
  const auto tail = V::zero_below(power_of_two<V>(whole, V::sub(power, whole)), V::sub(far_out, u), V::all(0.0f));
  return V::mul(x, V::if_negative(x, tail, V::sub(V::all(1.0f), tail)));
}

template <typename V>
float sum_of(typename V::Floats value) {
  alignas(64) float parts[static_cast<std::size_t>(V::kWidth)];
  V::store(parts, value);
  float sum = 0.0f;
  for (const float part : parts) sum += part;
  return sum;
}

// Calls body(at, count) for every vector of `width` floats; the last may be a part of one.
template <typename V, typename Body>
void for_vectors(std::int64_t width, const Body& body) {
  for (std::int64_t at = 0; at < width; at += V::kWidth) body(at, std::min<std::int64_t>(width - at, V::kWidth));
}

template <typename V>
typename V::Floats loaded(const float* from, std::int64_t count) {
  return count == V::kWidth ? V::load(from) : V::load_some(from, count);
}

template <typename V>
void stored(float* to, typename V::Floats value, std::int64_t count) {
  count == V::kWidth ? V::store(to, value) : V::store_some(to, value, count);
}

template <typename V>
void vector_gelu(const GeluCall& call) {
  if (!call.factor) {  // one line of all rows
    for_vectors<V>(call.rows * call.width, [&](std::int64_t at, std::int64_t count) {
      stored<V>(call.y + at, gelu_of<V>(loaded<V>(call.x + at, count)), count);
    });
    return;
  }
  for (std::int64_t row = 0; row < call.rows; ++row) {
    const float* x = call.x + row * call.width;
    float* y = call.y + row * call.width;
    for_vectors<V>(call.width, [&](std::int64_t at, std::int64_t count) {
      const auto value = gelu_of<V>(loaded<V>(x + at, count));
      stored<V>(y + at, V::mul(value, loaded<V>(call.factor + at, count)), count);
    });
  }
}

template <typename V>
void vector_normalize(const NormalizeCall& call) {
  const auto width = static_cast<float>(call.width);
  for (std::int64_t row = 0; row < call.rows; ++row) {
    const float* x = call.x + row * call.width;
    float* y = call.y + row * call.width;
    const float* source = x;
    auto total = V::all(0.0f);
    if (call.other) {
      const float* other = call.other + row * call.width;
      float* sum = call.sum ? call.sum + row * call.width : y;
      for_vectors<V>(call.width, [&](std::int64_t at, std::int64_t count) {
        const auto s = V::add(loaded<V>(x + at, count), loaded<V>(other + at, count));
        stored<V>(sum + at, s, count);
        total = V::add(total, s);
      });
      source = sum;
    } else {
      for_vectors<V>(call.width,
                     [&](std::int64_t at, std::int64_t count) { total = V::add(total, loaded<V>(x + at, count)); });
    }
    const auto mean = V::all(sum_of<V>(total) / width);
    auto squares = V::all(0.0f);
    for_vectors<V>(call.width, [&](std::int64_t at, std::int64_t count) {
      const auto off = V::first_of(V::sub(loaded<V>(source + at, count), mean), count);
      squares = V::fma(off, off, squares);
    });
    const auto factor = V::all(1.0f / std::sqrt(sum_of<V>(squares) / width + call.epsilon));
    for_vectors<V>(call.width, [&](std::int64_t at, std::int64_t count) {
      const auto off = V::mul(V::sub(loaded<V>(source + at, count), mean), factor);
      const auto bias = call.bias ? loaded<V>(call.bias + at, count) : V::all(0.0f);
      stored<V>(y + at, V::fma(off, loaded<V>(call.gain + at, count), bias), count);
      if (!call.scaled) return;
      const auto scaled_bias = call.scaled_bias ? loaded<V>(call.scaled_bias + at, count) : V::all(0.0f);
      const auto scaled = V::fma(off, loaded<V>(call.scaled_gain + at, count), scaled_bias);
      stored<V>(call.scaled + row * call.width + at, scaled, count);
    });
  }
}

// A matrix B in panels of `kPanel` columns: (panels, depth, kPanel), columns that do not exist being 0.
template <typename V>
constexpr std::int64_t kPanel = std::int64_t{V::kWidth} * V::kTileVectors;

template <typename V>
std::int64_t panels_of(std::int64_t columns) {
  return (columns + kPanel<V> - 1) / kPanel<V>;
}

template <typename V>
void pack_transposed(const float* rows, std::ptrdiff_t stride, std::int64_t count, std::int64_t depth, float* to) {
  for (std::int64_t first = 0; first < count; first += kPanel<V>, to += depth * kPanel<V>) {
    const std::int64_t some = std::min(count - first, kPanel<V>);
    for (std::int64_t k = 0; k < depth; ++k) {
      const float* from = rows + first * stride + k;
      float* line = to + k * kPanel<V>;
      for (std::int64_t i = 0; i < some; ++i) line[i] = from[i * stride];
      for (std::int64_t i = some; i < kPanel<V>; ++i) line[i] = 0.0f;
    }
  }
}

template <typename V>
void pack_straight(const float* rows, std::ptrdiff_t stride, std::int64_t depth, std::int64_t columns,
                   const float* factor, float* to) {
  for (std::int64_t first = 0; first < columns; first += kPanel<V>, to += depth * kPanel<V>) {
    const std::int64_t some = std::min(columns - first, kPanel<V>);
    for (std::int64_t k = 0; k < depth; ++k) {
      float* line = to + k * kPanel<V>;
      std::memcpy(line, rows + k * stride + first, static_cast<std::size_t>(some) * sizeof(float));
      for (std::int64_t i = 0; factor && i < some; ++i) line[i] *= factor[first + i];
      for (std::int64_t i = some; i < kPanel<V>; ++i) line[i] = 0.0f;
    }
  }
}

struct TileCall {
  const float* a;  // (rows, depth)
  std::ptrdiff_t a_stride;
  const float* panel;  // (depth, kPanel)
  std::int64_t depth;
  const float* factor;  // of row r: factor[r * factor_stride]
  std::ptrdiff_t factor_stride;
  float* c;  // (rows, columns)
  std::ptrdiff_t c_stride;
  std::int64_t columns;  // of the panel that are stored
};

template <typename V, int kRows>
void multiply_tile(const TileCall& call) {
  constexpr auto kVectors = static_cast<std::size_t>(V::kTileVectors);
  typename V::Floats sums[static_cast<std::size_t>(kRows)][kVectors];
  for (auto& row : sums)
    for (auto& part : row) part = V::all(0.0f);
  for (std::int64_t k = 0; k < call.depth; ++k) {
    typename V::Floats b[kVectors];
    for (int j = 0; j < V::kTileVectors; ++j) b[j] = V::load(call.panel + k * kPanel<V> + j * V::kWidth);
    for (int r = 0; r < kRows; ++r) {
      const auto a = V::all(call.a[r * call.a_stride + k]);
      for (int j = 0; j < V::kTileVectors; ++j) sums[r][j] = V::fma(a, b[j], sums[r][j]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const auto factor = V::all(call.factor[r * call.factor_stride]);
    for (int j = 0; j < V::kTileVectors; ++j) {
      const std::int64_t count = std::min<std::int64_t>(call.columns - j * V::kWidth, V::kWidth);
      if (count > 0) stored<V>(call.c + r * call.c_stride + j * V::kWidth, V::mul(sums[r][j], factor), count);
    }
  }
}

template <typename V, int kRows>
void multiply_rows(int rows, const TileCall& call) {
  if constexpr (kRows > 0) {
    rows == kRows ? multiply_tile<V, kRows>(call) : multiply_rows<V, kRows - 1>(rows, call);
  }
}

// (rows, depth) times panels, to (rows, columns); rows in groups of equal height or one less.
template <typename V>
void multiply(TileCall call, std::int64_t rows, std::int64_t columns) {
  const std::int64_t groups = (rows + V::kTileRows - 1) / V::kTileRows;
  const TileCall first = call;
  for (std::int64_t panel = 0; panel < panels_of<V>(columns); ++panel) {
    call = first;
    call.panel = first.panel + panel * call.depth * kPanel<V>;
    call.c = first.c + panel * kPanel<V>;
    call.columns = std::min(columns - panel * kPanel<V>, kPanel<V>);
    for (std::int64_t group = 0; group < groups; ++group) {
      const auto height = static_cast<int>(rows / groups + (group < rows % groups));
      multiply_rows<V, V::kTileRows>(height, call);
      call.a += height * call.a_stride;
      call.c += height * call.c_stride;
      call.factor += height * call.factor_stride;
    }
  }
}

// A row of scores, (keys), to e^(score + shift - greatest); what they add up to.
template <typename V>
float exponentials(float* row, std::int64_t keys, const float* shift, bool shift_varies) {
  alignas(64) float parts[static_cast<std::size_t>(V::kWidth)];
  auto most = V::all(-std::numeric_limits<float>::infinity());
  const auto same = V::all(shift && !shift_varies ? shift[0] : 0.0f);
  for_vectors<V>(keys, [&](std::int64_t at, std::int64_t count) {
    const auto score = V::add(loaded<V>(row + at, count), shift_varies ? loaded<V>(shift + at, count) : same);
    stored<V>(row + at, score, count);
    most = V::max(V::first_or_least(score, count), most);
  });
  V::store(parts, most);
  const auto greatest = V::all(*std::max_element(parts, parts + V::kWidth));
  auto total = V::all(0.0f);
  for_vectors<V>(keys, [&](std::int64_t at, std::int64_t count) {
    const auto power = exp_below_zero<V>(V::sub(loaded<V>(row + at, count), greatest));
    stored<V>(row + at, power, count);
    total = V::add(total, V::first_of(power, count));
  });
  return sum_of<V>(total);
}

constexpr std::int64_t kScoreFloats = 8192;  // of the rows that are computed together: half of a first cache
constexpr std::int64_t kMostRows = 96;

template <typename V>
std::int64_t rows_together(const AttendCall& call) {
  const std::int64_t stride = panels_of<V>(call.keys) * kPanel<V>;
  const std::int64_t groups =
      std::clamp<std::int64_t>(kScoreFloats / stride / V::kTileRows, 1, kMostRows / V::kTileRows);
  return std::min(groups * V::kTileRows, call.rows);
}

template <typename V>
std::int64_t attend_scratch(const AttendCall& call) {
  const std::int64_t keys = panels_of<V>(call.keys) * kPanel<V>, width = panels_of<V>(call.width) * kPanel<V>;
  return keys * call.depth + call.keys * width + rows_together<V>(call) * keys;
}

template <typename V>
void vector_attend(const AttendCall& call) {
  const std::int64_t stride = panels_of<V>(call.keys) * kPanel<V>, together = rows_together<V>(call);
  float* const k = call.scratch;
  float* const v = k + stride * call.depth;
  float* const scores = v + call.keys * panels_of<V>(call.width) * kPanel<V>;
  float factors[kMostRows];
  pack_transposed<V>(call.k, call.k_stride, call.keys, call.depth, k);
  pack_straight<V>(call.v, call.v_stride, call.keys, call.width, call.factor, v);
  for (std::int64_t first = 0; first < call.rows; first += together) {
    const std::int64_t rows = std::min(together, call.rows - first);
    const float* q = call.q + first * call.q_stride;
    multiply<V>({q, call.q_stride, k, call.depth, &call.scale, 0, scores, stride, 0}, rows, call.keys);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* shift = call.shift ? call.shift + (first + r) * call.shift_row : nullptr;
      factors[r] = 1.0f / exponentials<V>(scores + r * stride, call.keys, shift, call.shift && call.shift_varies);
    }
    float* y = call.y + first * call.y_stride;
    multiply<V>({scores, stride, v, call.keys, factors, 1, y, call.y_stride, 0}, rows, call.width);
  }
}

template <typename V>
constexpr FloatLoops loops_on(Isa isa) {
  return {isa, vector_normalize<V>, vector_gelu<V>, vector_attend<V>, attend_scratch<V>};
}

}  // namespace
}  // namespace oaq
