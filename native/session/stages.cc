// Puts every step into the earliest stage whose steps, and those of all later ones, touch no memory that it touches.
// Nothing is computed but by the steps themselves.
#include "session/stages.h"

#include <algorithm>
#include <utility>

namespace oaq {
namespace {

// Steps of more chunks in every thread than so many have a stage of their own.
constexpr int kMostPerThread = 2;
constexpr std::size_t kMostSteps = 8;    // of a stage
constexpr std::size_t kMostEarlier = 8;  // stages that are asked for each step

bool overlap(const Place& a, const Place& b) {
  return a.offset < b.offset + b.bytes() + kSlack && b.offset < a.offset + a.bytes() + kSlack;
}

bool are_apart(const Touched& a, const Touched& b) {
  const auto reads = [](const Touched& reader, const Place& written) {
    return std::any_of(reader.read.begin(), reader.read.end(),
                       [&](const Place& place) { return overlap(place, written); });
  };
  return !overlap(a.written, b.written) && !reads(a, b.written) && !reads(b, a.written);
}

}  // namespace

Stages::Stages(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<Touched>& touched, int threads,
               int chunks) {
  std::vector<int> chunks_of_step;
  for (std::uint32_t step = 0; step < steps.size(); ++step) {
    const int count = std::clamp(chunks ? chunks : steps[step]->chunks(threads), 1, kMostChunks);
    chunks_of_step.push_back(count);
    Stage& stage = stage_for(step, touched, threads > 1 && count <= kMostPerThread * threads);
    stage.steps.push_back(step);
    if (count > 1) stage.chunks = count;  // of one step: all are counted below
  }
  for (Stage& stage : stages_) {
    if (stage.chunks == 1) continue;
    for (int thread = 0; thread < threads; ++thread)  // its share of every step: the same part as in other stages
      for (const std::uint32_t step : stage.steps) {
        const int count = chunks_of_step[step];
        const int end = share_begin(count, thread + 1, threads);
        for (int chunk = share_begin(count, thread, threads); chunk < end; ++chunk)
          stage.parts.push_back({step, chunk, count});
      }
    stage.chunks = static_cast<int>(stage.parts.size());
  }
}

// A stage that may take the step: an open one, or a new one at the end.
Stages::Stage& Stages::stage_for(std::uint32_t step, const std::vector<Touched>& touched, bool is_short) {
  std::size_t place = stages_.size();
  const std::size_t least = place > kMostEarlier ? place - kMostEarlier : 0;
  for (std::size_t earlier = place; is_short && earlier-- > least;) {
    const std::vector<std::uint32_t>& others = stages_[earlier].steps;
    if (!std::all_of(others.begin(), others.end(),
                     [&](std::uint32_t other) { return are_apart(touched[step], touched[other]); }))
      break;
    if (stages_[earlier].is_open && others.size() < kMostSteps) place = earlier;
  }
  if (place == stages_.size()) stages_.push_back({{}, is_short, 1, {}});
  return stages_[place];
}

void SharedSample::compute(std::uint32_t stage, int chunk, int chunks, int thread) {
  const std::span<const std::uint32_t> steps = stages_.steps(stage);
  const Arena& arena = *network_.arenas[0];
  const bool is_timed = steps.size() > 1;
  Network::Clock::time_point begin{};
  if (is_timed) begin = Network::Clock::now();
  if (chunks == 1) {
    for (const std::uint32_t step : steps) {
      network_.compute(step, 0, 1, arena, thread);
      if (is_timed) begin = network_.add_time(step, begin);
    }
    return;
  }
  const Stages::Part& part = stages_.part(stage, chunk);
  network_.compute(part.step, part.chunk, part.chunks, arena, thread);
  if (is_timed) network_.add_time(part.step, begin);
}

void SharedSample::complete(std::uint32_t stage) {
  const auto now = Network::Clock::now();
  const std::span<const std::uint32_t> steps = stages_.steps(stage);
  if (steps.size() > 1)
    network_.share_out(now - completed_, steps);
  else
    network_.nanoseconds[steps[0]] += std::chrono::duration_cast<std::chrono::nanoseconds>(now - completed_).count();
  completed_ = now;
}

}  // namespace oaq
