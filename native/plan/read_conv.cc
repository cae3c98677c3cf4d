// The fields of a convolution, in the order of src/oaq/runtime/step_fields.py.
#include "plan/read_conv.h"

namespace oaq {

ConvSpec read_conv(StepRecord& record, const Planes& planes) {
  Cursor& fields = record.fields;
  ConvSpec spec{};
  spec.row = &record.row;
  spec.x = record.input();
  spec.y = record.y;
  spec.window = fields.window();
  spec.window.planes = planes;
  spec.groups = fields.i32();
  spec.x_zero_point = fields.i32();
  const Arrays::Weights packed = fields.weights();
  // A step copies them, so that the plan's size no longer bounds what loading takes.
  if (packed.is_repeated) record.memory.take(packed.bytes.size(), "a copy of weights that an earlier step has");
  spec.packed = {reinterpret_cast<const std::int8_t*>(packed.bytes.data()), packed.bytes.size()};
  spec.segments = fields.numbers<std::int32_t>();
  spec.bias = fields.numbers<std::int32_t>();
  Output output = fields.output_of_products();
  spec.multipliers = std::move(output.multipliers);
  spec.y_zero_point = output.zero_point;
  spec.clamp = output.clamp;
  return spec;
}

}  // namespace oaq
