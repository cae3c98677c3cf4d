// Gathers what a network needs, and runs batches: whole samples in every thread, the rest one by one on all of them. No
// arithmetic on tensors.
#include "session/session.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/sizes.h"

namespace oaq {
namespace {

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
  constexpr double kLeastChunk = 2'000, kChunk = 50'000;
  constexpr int kMostPerThread = 16;
  if (threads == 1 || nanoseconds < 2 * kLeastChunk) return 1;
  if (nanoseconds < kLeastChunk * threads) return static_cast<int>(nanoseconds / kLeastChunk);
  return threads * static_cast<int>(std::clamp(nanoseconds / threads / kChunk, 1.0, double{kMostPerThread}));
}

Session::Session(std::size_t arena_bytes, int threads, int arenas, int chunks)
    : chunks_(chunks), threads_(SharedThreads::of(checked_threads(threads))) {
  if (chunks < 0 || chunks > kMostChunks) throw std::invalid_argument("chunks of a step are 1 to 4096, or 0");
  if (arenas != 1 && arenas != threads) throw std::invalid_argument("a session has one arena, or one for each thread");
  for (int i = 0; i < arenas; ++i) network_.arenas.push_back(std::make_unique<Arena>(checked_bytes(arena_bytes)));
}

void Session::add(std::unique_ptr<Step> step, Touched touched) {
  if (finished()) throw std::invalid_argument("the session is finished; no step can be added");
  network_.scratch_bytes = std::max(network_.scratch_bytes, step->scratch_bytes());
  network_.isas |= step->isas();
  network_.steps.push_back(std::move(step));
  touched_.push_back(std::move(touched));
}

void Session::finish(const std::vector<Place>& inputs, const std::vector<Place>& outputs) {
  if (finished()) throw std::invalid_argument("the session is finished already");
  network_.inputs = inputs;
  network_.outputs = outputs;
  gather_weights();
  const std::size_t count = network_.steps.size();
  network_.nanoseconds.assign(count, 0);
  network_.spent = std::vector<std::atomic<std::int64_t>>(count);
  network_.scratch_bytes = (network_.scratch_bytes + kSlack + kLine - 1) / kLine * kLine;
  network_.scratch.resize(network_.scratch_bytes * static_cast<std::size_t>(threads_->count()));
  all_.resize(count);
  std::iota(all_.begin(), all_.end(), 0U);
  stages_.emplace(network_.steps, std::exchange(touched_, {}), threads_->count(), chunks_);
}

std::vector<std::vector<std::uint32_t>> Session::stages() const {
  std::vector<std::vector<std::uint32_t>> result;
  for (std::uint32_t stage = 0; finished() && stage < stages_->count(); ++stage) {
    const std::span<const std::uint32_t> steps = stages_->steps(stage);
    result.emplace_back(steps.begin(), steps.end());
  }
  return result;
}

std::vector<Choices> Session::choices() const {
  std::vector<Choices> result;
  for (const auto& step : network_.steps) result.push_back(step->choices());
  return result;
}

// Weights are most of what a run reads: together they fit few pages. Steps that have the same ones read them in one
// place: a head that is called for every level of a pyramid.
void Session::gather_weights() {
  std::unordered_multimap<std::size_t, std::pair<const std::uint8_t*, std::size_t>> places;  // by a hash of the bytes
  std::vector<std::size_t> place_of(network_.steps.size());
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < network_.steps.size(); ++i) {
    const Step& step = *network_.steps[i];
    const std::size_t size = step.weight_bytes();
    const std::uint8_t* const weights = step.weights();
    if (!size) continue;
    const std::string_view text(reinterpret_cast<const char*>(weights), size);
    const std::size_t hash = std::hash<std::string_view>{}(text) ^ size;
    const auto [begin, end] = places.equal_range(hash);
    const auto same = std::find_if(begin, end, [&](const auto& entry) {
      return network_.steps[entry.second.second]->weight_bytes() == size &&
             std::equal(weights, weights + size, entry.second.first);
    });
    if (same != end) {
      place_of[i] = place_of[same->second.second];
      shared_bytes_ += size;
      continue;
    }
    place_of[i] = bytes;
    places.emplace(hash, std::pair{weights, i});
    bytes += (size + kLine - 1) / kLine * kLine;
  }
  std::uint8_t* const to = network_.weights.emplace(bytes).data();
  for (std::size_t i = 0; i < network_.steps.size(); ++i) network_.steps[i]->move_weights(to + place_of[i]);
}

bool Session::run(std::int64_t batch, std::span<const std::uint8_t* const> inputs,
                  std::span<std::uint8_t* const> outputs, bool (*stop)(void*), void* context) {
  if (!finished()) throw std::logic_error("the session is not finished");
  std::fill(network_.nanoseconds.begin(), network_.nanoseconds.end(), 0);
  const Ends ends{inputs, outputs};
  Question question(stop, context);
  const std::int64_t whole = whole_samples(batch, static_cast<int>(network_.arenas.size()));
  if (whole && !run_whole(whole, ends, question)) return false;
  const Arena& arena = *network_.arenas[0];
  for (std::int64_t sample = whole; sample < batch; ++sample) {
    if (sample && question.is_stopped()) return false;
    ends.copy_in(network_, sample, arena);
    SharedSample work(network_, *stages_);
    threads_->run(work);
    ends.copy_out(network_, sample, arena);
  }
  return true;
}

bool Session::run_whole(std::int64_t samples, const Ends& ends, Question& question) {
  const Network::Clock::time_point begin = Network::Clock::now();
  WholeSamples work(network_, ends, samples, question);
  threads_->run(work);
  network_.share_out(Network::Clock::now() - begin, all_);
  return !work.is_stopped();
}

}  // namespace oaq
