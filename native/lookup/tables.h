// The tables of a convolution: every choice of weights that occurs in a step has one, whatever steps and outputs share
// it. Weights of two bits make 27 of three operands, which the first cache holds; where more occur than the second
// cache holds, the tables of one tile are made at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "conv/conv.h"
#include "lookup/lookup.h"

namespace oaq {

class LookupTables {
 public:
  LookupTables(const ConvSpec& spec, const LookupLoops& loops, const Schedule& schedule);

  bool are_kept() const { return is_kept_; }
  const char* name() const { return are_laid_ ? "laid tables" : is_kept_ ? "kept tables" : "made tables"; }

  // What a session keeps, and moves once.
  std::size_t bytes() const { return bytes_; }
  const std::uint8_t* begin() const { return begin_; }
  void move(std::uint8_t* to);

  // Bytes of scratch that `at` needs.
  std::size_t scratch_bytes() const;

  struct Tile {
    const std::uint8_t* tables;
    const std::uint16_t* places;  // null where tables lie in the order of execution
    bool stays_in_bytes;
  };
  Tile at(std::size_t tile, std::uint8_t* scratch) const;

 private:
  void lay(const ConvSpec& spec);
  bool find_choices(const ConvSpec& spec);
  void find_wrapping(const ConvSpec& spec, const Schedule& schedule);
  void hold(const void* values, std::size_t bytes);

  const LookupLoops& loops_;
  int operands_;
  Range weights_;
  bool is_kept_, are_laid_;
  std::vector<std::size_t> first_;         // executed step of each tile; at last, how many there are
  AlignedVector<std::uint8_t> multiples_;  // where tables are not kept
  std::vector<bool> stays_in_bytes_;       // of each tile
  std::size_t most_steps_ = 0;             // of a tile
  std::size_t places_at_ = 0, bytes_ = 0;
  AlignedVector<std::uint8_t> held_;  // tables and places, or weights in execution order; empty once they are moved
  const std::uint8_t* begin_;
};

// Bits of an operand of a row.
int operand_bits(const Row& row);

}  // namespace oaq
