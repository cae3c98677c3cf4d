// From Python's arguments to specs of steps.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <array>
#include <tuple>
#include <variant>
#include <vector>

#include "requantize/requantize.h"
#include "session/session.h"

namespace oaq::python {

using PyPlace = std::tuple<std::size_t, std::tuple<std::int64_t, std::int64_t, std::int64_t>>;  // (offset, (height,
                                                                                                // width, channels))

template <typename T>
using Vector = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using PyMultipliers = std::variant<Vector<float>, std::tuple<Vector<std::int32_t>, Vector<std::int32_t>>>;

// Inside the session's arena; throws std::invalid_argument.
Place place(const Session& session, const PyPlace& given);
std::vector<Place> places(const Session& session, const std::vector<PyPlace>& given);

// The builder calls.
void define_steps(nanobind::class_<Session>& session);

}  // namespace oaq::python
