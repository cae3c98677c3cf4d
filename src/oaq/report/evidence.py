"""What was seen on data, layer by layer: sums, clamped outputs, precision against float. Never a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq import reference
from oaq.kernels.plan import NodePlan, Plan
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec
from oaq.overflow.count import count_overflows
from oaq.program.int_program import IntProgram, Node
from oaq.reference import packed_operands
from oaq.report.agreement import sqnr_db
from oaq.report.data import Observed

Images = NDArray[np.uint8]
LaneCount = Callable[[Node, Images], IntRange]
"""Hull of the narrow registers of one layer on one batch of its inputs."""


@dataclass
class _LayerSums:
    """Running hulls and counts of one layer."""

    totals: list[IntRange] = field(default_factory=list)
    lanes: list[IntRange] = field(default_factory=list)
    low: int = 0
    high: int = 0
    outputs: int = 0


def observe(
    program: IntProgram, batches: Iterable[Images | tuple[Images, ...]], lanes: Mapping[str, LaneCount] | None = None
) -> dict[str, Observed]:
    """Run the reference and note what every summing layer did.

    Args:
        program: what to run.
        batches: (n, ...) uint8 inputs, one array, or one per input in the program's order.
        lanes: for layers whose narrow registers are to be watched too, how.

    Returns:
        By node name; empty if there was no image.
    """
    sums = {node.name: _LayerSums() for node in program.summing_nodes()}
    images = 0
    for x in batches:
        run = reference.run(program, x, accumulators=True)
        images += len(x[0] if isinstance(x, tuple) else x)
        for node in program.summing_nodes():
            _note(sums[node.name], run.accumulators[node.name], run.tensors[node.output], program.tensors[node.output])
            if lanes is not None and node.name in lanes:
                sums[node.name].lanes.append(lanes[node.name](node, run.tensors[node.inputs[0]]))
    return {name: _observed(layer_sums, images) for name, layer_sums in sums.items()} if images else {}


def lanes_of(plan: Plan) -> dict[str, LaneCount]:
    """How to watch the narrow registers of every layer of ``plan`` that has any, in the order they will run."""
    return {
        planned.node.name: _lane_count(planned, plan)
        for planned in plan.nodes
        if planned.schedule is not None and not planned.schedule.accumulator.is_exact
    }


def _lane_count(planned: NodePlan, plan: Plan) -> LaneCount:
    op, schedule = planned.node.op, planned.schedule
    if not isinstance(op, ops.Products) or schedule is None:
        raise TypeError(f"{planned.node.name}: sums no products")
    zero = plan.program.specs(planned.node)[0].affine.zero_point
    spans = op.is_depthwise()

    def count(node: Node, x: Images) -> IntRange:
        operands = packed_operands(op, x, zero, schedule.accumulator.step)
        return count_overflows(schedule, operands, op.weight.shape[0], tiles_span_groups=spans).lane_range

    return count


def layer_sqnr(
    program: IntProgram, integers: Mapping[str, Images], floats: Mapping[str, NDArray[np.floating]]
) -> dict[str, float]:
    """Decibels at the output of every summing layer.

    Args:
        program: whose layers.
        integers: (n, ...) uint8 NHWC by tensor name, as computed.
        floats: the float network's values of the same tensors, NHWC; layers without any are left out.
    """
    return {
        node.name: sqnr_db(floats[node.output], program.tensors[node.output].affine.dequantize(integers[node.output]))
        for node in program.summing_nodes()
        if node.output in floats
    }


def _note(layer_sums: _LayerSums, sums: NDArray[np.int32 | np.int64], y: Images, spec: TensorSpec) -> None:
    layer_sums.totals.append(IntRange(int(sums.min()), int(sums.max())))
    layer_sums.low += int(np.count_nonzero(y == spec.range.lo))
    layer_sums.high += int(np.count_nonzero(y == spec.range.hi))
    layer_sums.outputs += y.size


def _observed(sums: _LayerSums, images: int) -> Observed:
    return Observed(
        images=images,
        total=_hull(sums.totals),
        lane=_hull(sums.lanes) if sums.lanes else None,
        at_low=sums.low / sums.outputs,
        at_high=sums.high / sums.outputs,
    )


def _hull(ranges: list[IntRange]) -> IntRange:
    hull = ranges[0]
    for other_range in ranges[1:]:
        hull = hull.hull(other_range)
    return hull
