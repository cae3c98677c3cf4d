// Copies inputs in and outputs out, and runs the steps of each sample on all threads. No arithmetic on tensors.
#include "session/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>

#include "base/sizes.h"

namespace oaq {
namespace {

constexpr std::chrono::milliseconds kAskEvery{50};

std::size_t checked_bytes(std::size_t bytes) {
  if (bytes > static_cast<std::size_t>(kMostBytes))
    throw std::invalid_argument("an arena of " + std::to_string(bytes) + " bytes is too large");
  return bytes;
}

int checked_threads(int threads) {
  if (threads < 1 || threads > kMostThreads)
    throw std::invalid_argument("threads is 1 to 256, not " + std::to_string(threads));
  return threads;
}

}  // namespace

int chunks_of(double nanoseconds, int threads) {
  constexpr double kOneThread = 4'000, kChunk = 50'000;
  constexpr int kMostPerThread = 16;
  if (threads == 1 || nanoseconds < kOneThread) return 1;
  return threads * static_cast<int>(std::clamp(nanoseconds / threads / kChunk, 1.0, double{kMostPerThread}));
}

Session::Session(std::size_t arena_bytes, int threads)
    : arena_(checked_bytes(arena_bytes)), threads_(checked_threads(threads)) {}

void Session::add(std::unique_ptr<Step> step) {
  if (finished_) throw std::invalid_argument("the session is finished; no step can be added");
  scratch_bytes_ = std::max(scratch_bytes_, step->scratch_bytes());
  isas_ |= step->isas();
  steps_.push_back(std::move(step));
}

void Session::finish(const std::vector<Place>& inputs, const std::vector<Place>& outputs) {
  if (finished_) throw std::invalid_argument("the session is finished already");
  inputs_ = inputs;
  outputs_ = outputs;
  gather_weights();
  nanoseconds_.assign(steps_.size(), 0);
  for (const auto& step : steps_) chunks_.push_back(std::clamp(step->chunks(threads_.count()), 1, kMostChunks));
  scratch_bytes_ = (scratch_bytes_ + kSlack + kLine - 1) / kLine * kLine;
  scratch_.resize(scratch_bytes_ * static_cast<std::size_t>(threads_.count()));
  finished_ = true;
}

std::vector<Choices> Session::choices() const {
  std::vector<Choices> result;
  for (const auto& step : steps_) result.push_back(step->choices());
  return result;
}

// Weights are most of what a run reads: together they fit few pages.
void Session::gather_weights() {
  const auto room = [](const std::unique_ptr<Step>& step) {
    return (step->weight_bytes() + kLine - 1) / kLine * kLine;
  };
  std::size_t bytes = 0;
  for (const auto& step : steps_) bytes += room(step);
  std::uint8_t* to = weights_.emplace(bytes).data();
  for (const auto& step : steps_) {
    const std::size_t bytes_of_step = room(step);
    step->move_weights(to);
    to += bytes_of_step;
  }
}

bool Session::run(std::int64_t batch, std::span<const std::uint8_t* const> inputs,
                  std::span<std::uint8_t* const> outputs, bool (*stop)(void*), void* context) {
  if (!finished_) throw std::logic_error("the session is not finished");
  std::fill(nanoseconds_.begin(), nanoseconds_.end(), 0);
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_asked = Clock::now();
  for (std::int64_t sample = 0; sample < batch; ++sample) {
    if (stop && sample && Clock::now() - last_asked >= kAskEvery) {
      if (stop(context)) return false;
      last_asked = Clock::now();
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const std::size_t bytes = inputs_[i].bytes();
      std::memcpy(arena_.data() + inputs_[i].offset, inputs[i] + static_cast<std::size_t>(sample) * bytes, bytes);
    }
    completed_ = Clock::now();
    threads_.run(*this);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::size_t bytes = outputs_[i].bytes();
      std::memcpy(outputs[i] + static_cast<std::size_t>(sample) * bytes, arena_.data() + outputs_[i].offset, bytes);
    }
  }
  return true;
}

void Session::compute(std::uint32_t stage, int chunk, int chunks, int thread) {
  std::uint8_t* scratch = scratch_.data() + scratch_bytes_ * static_cast<std::size_t>(thread);
  steps_[stage]->run(arena_.data(), scratch, chunk, chunks);
}

void Session::complete(std::uint32_t stage) {
  const auto now = std::chrono::steady_clock::now();
  nanoseconds_[stage] += std::chrono::duration_cast<std::chrono::nanoseconds>(now - completed_).count();
  completed_ = now;
}

}  // namespace oaq
