// What the module has of float parts.
#pragma once

#include <nanobind/nanobind.h>

namespace oaq::python {

void add_floats(nanobind::module_& module);

}  // namespace oaq::python
