"""Every layer driven to the ends of its bounds, on the very schedule a plan would run.

A witness is an input of one layer, inside the ranges proved for it but not always reachable from the network's input,
so each layer is run by itself, with the plan's own row and weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.kernels.plan import NodePlan, Plan
from oaq.numerics.cells import lane_of
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.spill import Schedule
from oaq.overflow.witness import witness
from oaq.program.int_program import IntProgram
from oaq.reference import compute
from oaq.runtime.build import build
from oaq.runtime.memory import plan_memory
from oaq.verify.compare import Comparison, compare

End = Literal["lo", "hi"]


def run_witnesses(plan: Plan, proof: Proof, threads: int) -> tuple[int, Comparison]:
    """How many witnesses there were, and how the layers' results compare with the reference's.

    Args:
        plan: already accepted by the checker; each of its layers is run alone, without a second proof.
        proof: of the plan's program.
        threads: that share the work.
    """
    count, result = 0, Comparison()
    for planned in plan.nodes:
        if planned.schedule is not None:
            tensors = layer_witnesses(plan.program, proof, planned)
            count += len(tensors)
            result = result.plus(_run_layer(plan, planned, tensors, threads))
    return count, result


def layer_witnesses(program: IntProgram, proof: Proof, planned: NodePlan) -> NDArray[np.uint8]:
    """(W, ...) inputs of one layer: least and largest whole sum, fullest lane both ways, both corners of its range."""
    node, schedule, sums = planned.node, planned.schedule, proof[planned.node.name]
    assert schedule is not None
    tensors = [
        witness(program, proof, node.name, int(np.argmin(sums.raw.lo)), "lo").tensor,
        witness(program, proof, node.name, int(np.argmax(sums.raw.hi)), "hi").tensor,
    ]
    fullest: tuple[tuple[End, int], ...] = (
        ("lo", int(schedule.bounds[:, 0].argmin())),
        ("hi", int(schedule.bounds[:, 1].argmax())),
    )
    for end, segment in fullest:
        output = fullest_output(node.products, sums, schedule, segment, end)
        lane = witness(program, proof, node.name, output, end, schedule=schedule, segment=segment)
        tensors.append(lane.tensor)
    shape, ranges = program.specs(node)[0].shape, proof.ranges[node.inputs[0]]
    tensors += [np.broadcast_to(edge, shape).astype(np.uint8) for edge in (ranges.lo, ranges.hi)]
    return np.ascontiguousarray(np.stack(tensors))


def fullest_output(op: ops.Products, sums: NodeProof, schedule: Schedule, segment: int, end: End) -> int:
    """The output whose lane comes nearest to the wanted end in one segment."""
    tile, start, count = schedule.segments[segment].tolist()
    first = int(schedule.segments[:segment, 2].sum())
    step, outputs = schedule.accumulator.step, len(sums.total)
    used = np.array(schedule.shape(outputs, op.tile_groups).outputs_of(tile))
    weight = (
        schedule.packed[first : first + count, : len(used)].astype(np.int64).transpose(1, 0, 2).reshape(len(used), -1)
    )
    rows = used // (outputs // len(sums.operands.lo))
    pad = -sums.operands.lo.shape[1] % step
    span = slice(start * step, (start + count) * step)
    low, high = (np.pad(x, ((0, 0), (0, pad)))[rows, span] for x in (sums.operands.lo, sums.operands.hi))
    pick = np.maximum if end == "hi" else np.minimum
    reach = pick(weight * low, weight * high)
    lane = lane_of(schedule.accumulator, np.arange(span.start, span.stop))
    lanes = np.stack([reach[:, lane == n].sum(axis=1) for n in range(schedule.accumulator.lanes)], axis=1)
    best = lanes.max(axis=1).argmax() if end == "hi" else lanes.min(axis=1).argmin()
    return int(used[best])


def _run_layer(plan: Plan, planned: NodePlan, tensors: NDArray[np.uint8], threads: int) -> Comparison:
    program, node = plan.program, planned.node
    specs = {name: program.tensors[name] for name in (node.inputs[0], node.output)}
    alone = replace(program, inputs=node.inputs, outputs=(node.output,), tensors=specs, nodes=(node,))
    native = build(replace(plan, program=alone, nodes=(planned,)), plan_memory(alone), threads)
    actual = np.empty((len(tensors), *specs[node.output].shape), np.uint8)
    native.run([tensors], [actual])
    expected, _ = compute(node, [tensors], program.specs(node), specs[node.output])
    return compare(alone, {node.output: expected}, {node.output: actual})
