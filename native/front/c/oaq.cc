// oaq.h over plan/load.h and session/session.h: checks arguments, calls, turns exceptions into codes and a text. No
// arithmetic.
#include "front/c/oaq.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <new>
#include <span>
#include <stdexcept>

#include "front/c/session.h"

namespace {

thread_local char last_error[512] = "";  // room of its own: an error of memory needs none

oaq_status fail(oaq_status status, const char* text) {
  static_cast<void>(std::snprintf(last_error, sizeof last_error, "%s", text));
  return status;
}

std::size_t default_limit() {
  constexpr auto kMost = std::uint64_t{4} << 30;
  return static_cast<std::size_t>(std::min<std::uint64_t>(kMost, std::numeric_limits<std::size_t>::max()));
}

oaq_status describe(const oaq_session* session, const std::vector<std::uint32_t>& indices, std::size_t index,
                    oaq_tensor* to) {
  if (index >= indices.size()) return fail(OAQ_BAD_ARGUMENT, "the session has no such tensor");
  const oaq::Description& tensor = session->plan.tensors[indices[index]];
  *to = {};
  to->name = tensor.name.c_str();
  to->rank = static_cast<int>(tensor.dims.size());
  std::copy(tensor.dims.begin(), tensor.dims.end(), to->dims);
  to->bytes = tensor.bytes;
  to->scale = tensor.scale;
  to->zero_point = tensor.zero_point;
  to->lo = tensor.range.lo;
  to->hi = tensor.range.hi;
  return OAQ_OK;
}

bool in_range(const oaq::Description& tensor, const std::uint8_t* values, std::size_t batch) {
  const auto [lo, hi] = tensor.range;
  if (lo == 0 && hi == 255) return true;
  return std::all_of(values, values + batch * tensor.bytes,
                     [lo, hi](std::uint8_t value) { return value >= lo && value <= hi; });
}

// Whether both lists of pointers are there, and what they point to can be as large as that.
bool is_complete(const oaq_session* session, const std::uint8_t* const* inputs, std::uint8_t* const* outputs,
                 std::size_t batch) {
  const std::vector<oaq::Description>& tensors = session->plan.tensors;
  const std::vector<std::uint32_t>&in = session->plan.inputs, &out = session->plan.outputs;
  if ((!in.empty() && !inputs) || (!out.empty() && !outputs)) return false;
  const std::size_t most = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max());
  for (std::size_t i = 0; i < in.size(); ++i)
    if (!inputs[i] || batch > most / tensors[in[i]].bytes) return false;
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!outputs[i] || batch > most / tensors[out[i]].bytes) return false;
  return true;
}

}  // namespace

oaq_status oaq_load(const void* plan, size_t size, const oaq_options* options, oaq_session** session) {
  if (!session) return fail(OAQ_BAD_ARGUMENT, "oaq_load: session is null");
  *session = nullptr;
  if (!plan) return fail(OAQ_BAD_ARGUMENT, "oaq_load: plan is null");
  const oaq_options chosen = options ? *options : oaq_options{1, 0};
  try {
    const std::size_t limit = chosen.memory_limit ? chosen.memory_limit : default_limit();
    *session = new oaq_session{oaq::load_plan({static_cast<const std::uint8_t*>(plan), size}, chosen.threads, limit)};
    return OAQ_OK;
  } catch (const oaq::PlanError& error) {
    return fail(OAQ_BAD_PLAN, error.what());
  } catch (const oaq::MemoryExceeded& error) {
    return fail(OAQ_NO_MEMORY, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(OAQ_BAD_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return fail(OAQ_NO_MEMORY, "oaq_load: there is not enough memory");
  } catch (const std::exception& error) {
    return fail(OAQ_NO_THREADS, error.what());
  } catch (...) {
    return fail(OAQ_NO_THREADS, "oaq_load: an unknown error");
  }
}

size_t oaq_input_count(const oaq_session* session) { return session ? session->plan.inputs.size() : 0; }
size_t oaq_output_count(const oaq_session* session) { return session ? session->plan.outputs.size() : 0; }

oaq_status oaq_describe_input(const oaq_session* session, size_t index, oaq_tensor* tensor) {
  if (!session || !tensor) return fail(OAQ_BAD_ARGUMENT, "oaq_describe_input: a pointer is null");
  return describe(session, session->plan.inputs, index, tensor);
}

oaq_status oaq_describe_output(const oaq_session* session, size_t index, oaq_tensor* tensor) {
  if (!session || !tensor) return fail(OAQ_BAD_ARGUMENT, "oaq_describe_output: a pointer is null");
  return describe(session, session->plan.outputs, index, tensor);
}

oaq_status oaq_run(oaq_session* session, const uint8_t* const* inputs, uint8_t* const* outputs, size_t batch) {
  if (!session) return fail(OAQ_BAD_ARGUMENT, "oaq_run: session is null");
  if (!is_complete(session, inputs, outputs, batch))
    return fail(OAQ_BAD_ARGUMENT, "oaq_run: a pointer is null, or so many samples fit no memory");
  const std::vector<oaq::Description>& tensors = session->plan.tensors;
  const std::vector<std::uint32_t>&in = session->plan.inputs, &out = session->plan.outputs;
  for (std::size_t i = 0; i < in.size(); ++i)
    if (!in_range(tensors[in[i]], inputs[i], batch))
      return fail(OAQ_BAD_ARGUMENT, "oaq_run: an integer lies outside its input's range; see lo and hi of oaq_tensor");
  try {
    session->plan.session->run(static_cast<std::int64_t>(batch), {inputs, in.size()}, {outputs, out.size()});
    return OAQ_OK;
  } catch (...) {
    return fail(OAQ_BAD_ARGUMENT, "oaq_run: the session did not run");
  }
}

const char* oaq_error(void) { return last_error; }

void oaq_free(oaq_session* session) { delete session; }
