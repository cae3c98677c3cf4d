// The fields that both families of convolutions have.
#pragma once

#include "conv/conv.h"
#include "plan/read.h"

namespace oaq {

// Window, groups, zero point of the input, packed weights, segments, bias, output. The weights stay where they lie in
// the plan's bytes; `planes` are those of the window. Throws PlanError.
ConvSpec read_conv(StepRecord& record, const Planes& planes = {});

}  // namespace oaq
