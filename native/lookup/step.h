// A convolution as a step that looks its sums up.
#pragma once

#include <memory>

#include "conv/conv.h"

namespace oaq {

// Of a row that has loops to look up by. Throws std::invalid_argument: anything that does not fit together.
std::unique_ptr<Step> make_lookup_conv(const ConvSpec& spec);

}  // namespace oaq
