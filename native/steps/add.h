// Add as vector rows compute it: the numbers they are given, and their functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace oaq {

// Plain data for vector code. Where `shift` is 0: y = clamp(half_even(a_scale * (a - a_zero) + b_scale * (b - b_zero))
// + zero). Else: y = clamp(((a_factor * (a - a_zero) + b_factor * (b - b_zero) + half) >> shift) + zero). Scales and
// factors are so small that no sum leaves s32; packing saturates twice and changes nothing the clamp keeps.
struct AddNumbers {
  float a_scale, b_scale;
  std::int32_t a_factor, b_factor, half, shift;
  std::int32_t a_zero, b_zero;
  std::int32_t zero;
  std::uint8_t clamp_lo, clamp_hi;
};

// Adds whole vectors; returns how many values it did.
using AddVectors = std::size_t (*)(const std::uint8_t* a, const std::uint8_t* b, std::size_t count,
                                   const AddNumbers& numbers, std::uint8_t* y);

// For a CPU with AVX2: 32 at a time.
std::size_t add_avx2(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                     std::uint8_t* y);

// For a CPU with AVX-512: 64 at a time.
std::size_t add_avx512bw(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                         std::uint8_t* y);

// For AArch64: 16 at a time.
std::size_t add_neon(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                     std::uint8_t* y);

// For WebAssembly: 16 at a time.
std::size_t add_simd128(const std::uint8_t* a, const std::uint8_t* b, std::size_t count, const AddNumbers& numbers,
                        std::uint8_t* y);

}  // namespace oaq
