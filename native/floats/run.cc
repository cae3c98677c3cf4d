// Cuts float parts into chunks: rows, elements, heads. Offsets only.
#include "floats/run.h"

#include <algorithm>
#include <stdexcept>

#include "base/aligned.h"
#include "base/shared_threads.h"
#include "base/sizes.h"
#include "session/session.h"

namespace oaq {
namespace {

// Nanoseconds of one thread, about, that are worth waking another for.
constexpr double kWorthAChunk = 4000;
constexpr double kFloatsNormalized = 4, kFloatsThroughGelu = 2, kProductsOfAttention = 16;  // in a nanosecond
constexpr std::int64_t kLineFloats = 16;

int chunks_of(double nanoseconds, std::int64_t most, int threads) {
  if (threads == 1) return 1;
  const double worth = std::min(nanoseconds / kWorthAChunk, static_cast<double>(4 * threads));
  return static_cast<int>(
      std::clamp<std::int64_t>(static_cast<std::int64_t>(worth), 1, std::max<std::int64_t>(most, 1)));
}

// One stage, whose `units` are shared out: body(begin, end).
template <typename Body>
class Shares : public Work {
 public:
  Shares(Isa isa, std::int64_t units, int chunks, const Body& body)
      : isa_(isa), units_(units), chunks_(chunks), body_(body) {}

  std::uint32_t stages() const override { return 1; }
  int chunks(std::uint32_t) const override { return chunks_; }
  void compute(std::uint32_t, int chunk, int chunks, int) override {
    body_(units_ * chunk / chunks, units_ * (chunk + 1) / chunks, chunk);
  }
  void complete(std::uint32_t) override {}
  Isas isas() const override { return included_in(isa_); }

 private:
  Isa isa_;
  std::int64_t units_;
  int chunks_;
  const Body& body_;
};

template <typename Body>
void share(const FloatOptions& options, std::int64_t units, int chunks, const Body& body) {
  Shares<Body> work(options.isa, units, chunks, body);
  if (options.threads == 1 || chunks == 1)
    run_alone(work);
  else
    SharedThreads::for_ever(options.threads).run(work);
}

const FloatLoops& checked(const FloatOptions& options) {
  if (!runs(options.isa)) throw std::invalid_argument("this CPU lacks the instruction set");
  if (options.threads < 1 || options.threads > kMostThreads) throw std::invalid_argument("threads is 1 to 256");
  return float_loops(options.isa);
}

}  // namespace

void normalize(const NormalizeCall& call, const FloatOptions& options) {
  const FloatLoops& loops = checked(options);
  const double floats = static_cast<double>(call.rows) * static_cast<double>(call.width);
  share(options, call.rows, chunks_of(floats / kFloatsNormalized, call.rows, options.threads),
        [&](std::int64_t begin, std::int64_t end, int) {
          NormalizeCall part = call;
          const std::int64_t at = begin * call.width;
          part.rows = end - begin;
          part.x += at;
          if (part.other) part.other += at;
          if (part.sum) part.sum += at;
          if (part.scaled) part.scaled += at;
          part.y += at;
          loops.normalize(part);
        });
}

void gelu(const GeluCall& call, const FloatOptions& options) {
  const FloatLoops& loops = checked(options);
  GeluCall whole = call;
  if (!call.factor) {  // rows do not matter: cut into lines
    whole.rows = divided_up(call.rows * call.width, kLineFloats);
    whole.width = kLineFloats;
  }
  const double floats = static_cast<double>(call.rows) * static_cast<double>(call.width);
  share(options, whole.rows, chunks_of(floats / kFloatsThroughGelu, whole.rows, options.threads),
        [&](std::int64_t begin, std::int64_t end, int) {
          GeluCall part = whole;
          const std::int64_t at = begin * whole.width;
          part.rows = end - begin;
          if (!call.factor) {
            part.rows = 1;
            part.width = std::min(end * whole.width, call.rows * call.width) - at;
          }
          part.x += at;
          part.y += at;
          loops.gelu(part);
        });
}

void attention(const AttentionCall& call, const FloatOptions& options) {
  const FloatLoops& loops = checked(options);
  const AttendCall& head = call.head;
  const std::int64_t heads = call.batch * call.heads;
  if (!heads || !head.rows) return;
  const double products = static_cast<double>(heads * head.rows) * static_cast<double>(head.keys) *
                          static_cast<double>(head.depth + head.width);
  const int chunks = chunks_of(products / kProductsOfAttention, heads * head.rows, options.threads);
  // Where heads are fewer than threads need, each is cut into rows; each part packs keys and values for itself.
  const std::int64_t cuts = std::min(divided_up(std::int64_t{chunks}, heads), head.rows);
  const std::int64_t units = heads * cuts;
  static thread_local AlignedVector<float> memory;
  const auto each = static_cast<std::size_t>(divided_up(loops.scratch(head), kLineFloats) * kLineFloats);
  const auto used = static_cast<std::size_t>(std::min<std::int64_t>(chunks, units));
  if (memory.size() < each * used) memory.resize(each * used);
  float* const scratch = memory.data();
  share(options, units, static_cast<int>(used), [&](std::int64_t begin, std::int64_t end, int chunk) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t b = unit / cuts / call.heads, h = unit / cuts % call.heads, cut = unit % cuts;
      const std::int64_t first = head.rows * cut / cuts;
      AttendCall part = head;
      part.rows = head.rows * (cut + 1) / cuts - first;
      part.q += (b * head.rows + first) * head.q_stride + h * head.depth;
      part.k += b * head.keys * head.k_stride + h * head.depth;
      part.v += b * head.keys * head.v_stride + h * head.width;
      if (part.factor) part.factor += h * head.width;
      part.y += (b * head.rows + first) * head.y_stride + h * head.width;
      if (part.shift) part.shift += b * call.shift_sample + h * call.shift_head + first * head.shift_row;
      part.scratch = scratch + static_cast<std::size_t>(chunk) * each;
      loops.attend(part);
    }
  });
}

}  // namespace oaq
