// Which steps of a network are computed side by side, and by which chunks.
//
// A stage is a set of steps that touch no memory of each other. So whatever order their chunks are computed in, and by
// whichever threads, each step reads what it would have read alone. Short steps of independent branches meet in one
// stage, which saves the ends where threads wait for each other; a long step has a stage of its own, for there such an
// end is a small part, and its operands are still in the caches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/work.h"
#include "session/network.h"
#include "step.h"

namespace oaq {

// What a step touches in the arena; vector code may touch kSlack bytes behind each.
struct Touched {
  std::vector<Place> read;
  Place written;
};

class Stages {
 public:
  // Steps in an order in which they may be computed, and what each touches. `chunks` of every step; 0: as suit it.
  Stages(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<Touched>& touched, int threads, int chunks);

  std::uint32_t count() const { return static_cast<std::uint32_t>(stages_.size()); }

  // The steps of a stage, in order.
  std::span<const std::uint32_t> steps(std::uint32_t stage) const { return stages_[stage].steps; }

  // A chunk of a step.
  struct Part {
    std::uint32_t step;
    int chunk, chunks;
  };

  // In which parts several threads compute the stage, 1 to kMostChunks. A single one is all steps, in order.
  int chunks(std::uint32_t stage) const { return stages_[stage].chunks; }
  // Of several chunks.
  const Part& part(std::uint32_t stage, int chunk) const {
    return stages_[stage].parts[static_cast<std::size_t>(chunk)];
  }

 private:
  struct Stage {
    std::vector<std::uint32_t> steps;
    bool is_open;  // to further steps
    int chunks;
    std::vector<Part> parts;
  };
  Stage& stage_for(std::uint32_t step, const std::vector<Touched>& touched, bool is_short);
  std::vector<Stage> stages_;
};

// One sample, whose stages threads share.
class SharedSample : public Work {
 public:
  SharedSample(Network& network, const Stages& stages)
      : network_(network), stages_(stages), completed_(Network::Clock::now()) {}

  std::uint32_t stages() const override { return stages_.count(); }
  int chunks(std::uint32_t stage) const override { return stages_.chunks(stage); }
  void compute(std::uint32_t stage, int chunk, int chunks, int thread) override;
  void complete(std::uint32_t stage) override;
  Isas isas() const override { return network_.isas; }

 private:
  Network& network_;
  const Stages& stages_;
  Network::Clock::time_point completed_;  // the stage before
};

}  // namespace oaq
