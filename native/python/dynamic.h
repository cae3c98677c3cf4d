// What the module has of dynamic layers.
#pragma once

#include <nanobind/nanobind.h>

namespace oaq::python {

void add_dynamic(nanobind::module_& module);

}  // namespace oaq::python
