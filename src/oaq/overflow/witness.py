"""The input that reaches a bound: a proof's other side, and what to show somebody who doubts it.

The operand vector takes, for every weight, the end of its operand's range that pushes the sum the wanted way. For a
convolution it is laid into a tensor of the node's input shape, so that one output position multiplies exactly it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.overflow.operands import Operands
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.spill import Schedule
from oaq.program import ops
from oaq.program.int_program import IntProgram, Node, TensorSpec
from oaq.program.shapes import window_count

End = Literal["lo", "hi"]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Witness:
    """An input of one node that drives one sum of one output to its end.

    Attributes:
        node: its name.
        output: whose sum.
        end: which end.
        segment: row of the schedule's segments whose lane is driven; None for the whole raw sum.
        lane: which lane; None for the whole raw sum.
        operands: (K,) uint8 as loaded, packed order, inside the proved ranges.
        bound: the proved end of that sum.
        tensor: uint8 of the node's input shape, inside the proved ranges.
        position: (row, column) of the output that multiplies ``operands``; (0, 0) for a Linear.
        reached: the sum ``tensor`` gives there. Equal to ``bound`` unless only a mixture of image and padding that no
            single position sees would reach it, which needs a zero point outside the proved range of a channel.
    """

    node: str
    output: int
    end: End
    segment: int | None
    lane: int | None
    operands: NDArray[np.uint8]
    bound: int
    tensor: NDArray[np.uint8]
    position: tuple[int, int]
    reached: int


def witness(
    program: IntProgram,
    proof: Proof,
    node: str,
    output: int,
    end: End = "hi",
    *,
    schedule: Schedule | None = None,
    segment: int | None = None,
    lane: int | None = None,
) -> Witness:
    """An input that reaches the bound of a sum.

    Args:
        program: whose node it is.
        proof: of ``program``.
        node: name of a Conv2d or Linear.
        output: which of its N outputs.
        end: which end of the sum.
        schedule: None drives the whole raw sum of w * x as loaded; otherwise one lane of one segment of it.
        segment: row of ``schedule.segments``, of the tile that holds ``output``; None takes the one that comes
            nearest to the wanted end of its register.
        lane: None takes the one that comes nearest.

    Raises:
        ProgramError: there is no such node, output, segment or lane.
    """
    found = program.by_name.get(node)
    if found is None or node not in proof.nodes or not isinstance(found.op, ops.Conv2d | ops.Linear):
        raise ProgramError(f"{program.name} has no Conv2d or Linear called {node!r}; it has {', '.join(proof.nodes)}")
    sums = proof[node]
    if not 0 <= output < len(sums.total):
        raise ProgramError(f"{node} has outputs 0 to {len(sums.total) - 1}, not {output}")
    weight = found.op.weight.reshape(len(sums.total), -1)[output].astype(np.int64)
    low, high = _row(sums.operands, output, len(sums.total))
    if schedule is not None:
        ends = (low - schedule.shift, high - schedule.shift)
        segment, lane, weight = _heaviest(found.op, schedule, (output, segment, lane), ends, end)
    push_up = (weight > 0) == (end == "hi")
    operands = np.where(push_up, high, low)
    bound = int(weight @ operands)
    tensor, position, reached = _place(found, (weight, operands), proof, program.specs(found)[0], (output, end))
    moved = schedule.shift * int(weight.sum()) if schedule is not None else 0  # its kernel multiplies u8 - shift
    return Witness(
        node, output, end, segment, lane, operands.astype(np.uint8), bound - moved, tensor, position, reached - moved
    )


def segment_weight(schedule: Schedule, tile_output: int, segment: int, lane: int, terms: int) -> Ints:
    """(K,) the weights one lane of one output multiplies in one segment; 0 for every other k."""
    _, start, count = schedule.segments[segment].tolist()
    first = int(schedule.segments[:segment, 2].sum())
    step = schedule.accumulator.step
    weight = np.zeros(schedule.steps * step, np.int64)
    span = np.arange(start * step, (start + count) * step)
    weight[span] = schedule.packed[first : first + count, tile_output].reshape(-1)
    lanes = (np.arange(len(weight)) // schedule.accumulator.group) % schedule.accumulator.lanes
    return np.where(lanes == lane, weight, 0)[:terms]


def _row(operands: Operands, output: int, outputs: int) -> tuple[Ints, Ints]:
    row = output // (outputs // len(operands.lo))
    return operands.lo[row], operands.hi[row]


def _heaviest(
    op: ops.Conv2d | ops.Linear,
    schedule: Schedule,
    which: tuple[int, int | None, int | None],
    x: tuple[Ints, Ints],
    end: End,
) -> tuple[int, int, Ints]:
    """The segment and lane asked for, or the heaviest of them: (segment, lane, weights)."""
    output, segment, lane = which
    outputs = op.weight.shape[0]
    groups = op.groups if isinstance(op, ops.Conv2d) and not op.is_depthwise() else 1
    per_group = outputs // groups
    within = output % per_group
    tile = output // per_group * -(-per_group // schedule.tile_n) + within // schedule.tile_n
    segments = np.nonzero(schedule.segments[:, 0] == tile)[0].tolist()
    if segment is not None and segment not in segments:
        raise ProgramError(f"output {output} is in tile {tile}, whose segments are {segments}, not {segment}")
    if lane is not None and not 0 <= lane < schedule.accumulator.lanes:
        raise ProgramError(f"{schedule.accumulator.name} has {schedule.accumulator.lanes} lanes, not lane {lane}")
    best: tuple[int, int, int, Ints] | None = None
    for row in segments if segment is None else [segment]:
        for one in range(schedule.accumulator.lanes) if lane is None else [lane]:
            weight = segment_weight(schedule, within % schedule.tile_n, row, one, len(x[0]))
            chosen = np.where((weight > 0) == (end == "hi"), x[1], x[0])
            reach = int(weight @ chosen) * (1 if end == "hi" else -1)
            if best is None or reach > best[0]:
                best = (reach, row, one, weight)
    if best is None:
        raise ProgramError(f"the schedule has no segment for output {output}")
    return best[1], best[2], best[3]


def _place(
    node: Node, sum_of: tuple[Ints, Ints], proof: Proof, spec: TensorSpec, which: tuple[int, End]
) -> tuple[NDArray[np.uint8], tuple[int, int], int]:
    """The tensor, the output position and the sum reached there."""
    op, ranges = node.op, proof.ranges[node.inputs[0]]
    weight, operands = sum_of
    if not isinstance(op, ops.Conv2d):
        return operands.astype(np.uint8), (0, 0), int(weight @ operands)
    output, end = which
    channels = _channels(op, output)
    zero = spec.affine.zero_point
    inside_range = np.clip(operands.reshape(*op.kernel, -1), ranges.lo[channels], ranges.hi[channels])
    patterns = [_patterns(op, spec, axis) for axis in (0, 1)]
    best: tuple[int, tuple[int, int], NDArray[np.bool_]] | None = None
    for row, rows in patterns[0]:
        for column, columns in patterns[1]:
            sees = (rows[:, None] & columns[None])[:, :, None]
            loaded = np.where(sees, inside_range, zero)
            reach = int(weight @ loaded.reshape(-1)) * (1 if end == "hi" else -1)
            if best is None or reach > best[0]:
                best = (reach, (row, column), np.broadcast_to(sees[:, :, 0], op.kernel))
    if best is None:
        raise ProgramError(f"{node.name}: has no output position")
    reach, position, sees = best
    tensor = _fill(op, ranges, spec, position, (inside_range, sees, channels))
    return tensor, position, reach if end == "hi" else -reach


def _channels(op: ops.Conv2d, output: int) -> slice:
    per_group = op.weight.shape[3]
    group = output // (op.weight.shape[0] // op.groups)
    return slice(group * per_group, (group + 1) * per_group)


def _patterns(op: ops.Conv2d, spec: TensorSpec, axis: int) -> list[tuple[int, NDArray[np.bool_]]]:
    """One output coordinate per different set of taps that lie inside the image, with that set."""
    count = window_count((spec.shape[0], spec.shape[1]), op.kernel, op.stride, op.padding, op.dilation)[axis]
    tap = np.arange(op.kernel[axis]) * op.dilation[axis] - op.padding[2 * axis]
    position = np.arange(count)[:, None] * op.stride[axis] + tap
    inside = (position >= 0) & (position < spec.shape[axis])
    _, first = np.unique(inside, axis=0, return_index=True)
    return [(int(index), inside[index]) for index in first]


def _fill(
    op: ops.Conv2d,
    ranges: ChannelRanges,
    spec: TensorSpec,
    position: tuple[int, int],
    patch: tuple[Ints, NDArray[np.bool_], slice],
) -> NDArray[np.uint8]:
    """The patch at its place, the integer nearest to the zero point everywhere else."""
    values, sees, channels = patch
    rest = np.clip(spec.affine.zero_point, ranges.lo, ranges.hi)
    tensor = np.broadcast_to(rest, spec.shape).astype(np.uint8)
    for row in range(op.kernel[0]):
        for column in range(op.kernel[1]):
            if sees[row, column]:
                y = position[0] * op.stride[0] + row * op.dilation[0] - op.padding[0]
                x = position[1] * op.stride[1] + column * op.dilation[1] - op.padding[2]
                tensor[y, x, channels] = values[row, column]
    return tensor


def total_witness(program: IntProgram, proof: Proof, sums: NodeProof) -> tuple[Witness, Witness]:
    """Inputs for the outputs of a node whose totals come nearest to both ends of s32."""
    low, high = int(np.argmin(sums.total.lo)), int(np.argmax(sums.total.hi))
    return (
        witness(program, proof, sums.node, low, "lo"),
        witness(program, proof, sums.node, high, "hi"),
    )
