"""The input that reaches a bound: a proof's other side, and what to show to a doubter.

The operand vector takes, for every weight, the end of its operand's range that pushes the sum the wanted way. For a
convolution it is laid into a tensor of the node's input shape, so that one output position multiplies exactly it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.cells import lane_of
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import Products, TensorSpec, Window
from oaq.operators.windows import outer, taps_inside
from oaq.overflow.operands import Operands
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.spill import Schedule
from oaq.program.int_program import IntProgram, Node

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
        position: index along each axis before the channels, (row, column) of an image, of the output that multiplies
            ``operands``; zeros for a Linear.
        tensor_sum: the sum that ``tensor`` gives there. Equal to ``bound`` unless only a mixture of image and padding
            that no single position sees would reach it, which needs a zero point outside the proved range of a channel.
    """

    node: str
    output: int
    end: End
    segment: int | None
    lane: int | None
    operands: NDArray[np.uint8]
    bound: int
    tensor: NDArray[np.uint8]
    position: tuple[int, ...]
    tensor_sum: int


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
            nearest to that end of its register.
        lane: None takes the one that comes nearest.

    Raises:
        ProgramError: there is no such node, output, segment or lane.
    """
    summing_node = program.by_name.get(node)
    if summing_node is None or node not in proof.nodes or not isinstance(summing_node.op, Products):
        raise ProgramError(f"{program.name} has no Conv2d or Linear called {node!r}; it has {', '.join(proof.nodes)}")
    sums = proof[node]
    if not 0 <= output < len(sums.total):
        raise ProgramError(f"{node} has outputs 0 to {len(sums.total) - 1}, not {output}")
    weight = summing_node.op.rows[output].astype(np.int64)
    low, high = _row(sums.operands, output, len(sums.total))
    if schedule is not None:
        ends = (low - schedule.shift, high - schedule.shift)
        segment, lane, weight = _heaviest(summing_node.op, schedule, (output, segment, lane), ends, end)
    push_up = (weight > 0) == (end == "hi")
    operands = np.where(push_up, high, low)
    bound = int(weight @ operands)
    tensor, position, tensor_sum = _place(
        summing_node, (weight, operands), proof, program.specs(summing_node)[0], (output, end)
    )
    moved = schedule.shift * int(weight.sum()) if schedule is not None else 0  # its kernel multiplies u8 - shift
    return Witness(
        node, output, end, segment, lane, operands.astype(np.uint8), bound - moved, tensor, position, tensor_sum - moved
    )


def segment_weight(schedule: Schedule, tile_output: int, segment: int, lane: int, terms: int) -> Ints:
    """(K,) the weights one lane of one output multiplies in one segment; 0 for every other k."""
    _, start, count = schedule.segments[segment].tolist()
    first = int(schedule.segments[:segment, 2].sum())
    step = schedule.accumulator.step
    weight = np.zeros(schedule.steps * step, np.int64)
    span = np.arange(start * step, (start + count) * step)
    weight[span] = schedule.packed[first : first + count, tile_output].reshape(-1)
    return np.where(lane_of(schedule.accumulator, np.arange(len(weight))) == lane, weight, 0)[:terms]


def _row(operands: Operands, output: int, outputs: int) -> tuple[Ints, Ints]:
    row = output // (outputs // len(operands.lo))
    return operands.lo[row], operands.hi[row]


def _heaviest(
    op: Products,
    schedule: Schedule,
    address: tuple[int, int | None, int | None],
    x: tuple[Ints, Ints],
    end: End,
) -> tuple[int, int, Ints]:
    """The segment and lane asked for, or the heaviest of them: (segment, lane, weights)."""
    output, segment, lane = address
    tile, slot = schedule.shape(op.outputs, op.tile_groups).place_of(output)
    segments = np.nonzero(schedule.segments[:, 0] == tile)[0].tolist()
    if segment is not None and segment not in segments:
        raise ProgramError(f"output {output} is in tile {tile}, whose segments are {segments}, not {segment}")
    if lane is not None and not 0 <= lane < schedule.accumulator.lanes:
        raise ProgramError(f"{schedule.accumulator.name} has {schedule.accumulator.lanes} lanes, not lane {lane}")
    best: tuple[int, int, int, Ints] | None = None
    for row in segments if segment is None else [segment]:
        for lane_index in range(schedule.accumulator.lanes) if lane is None else [lane]:
            weight = segment_weight(schedule, slot, row, lane_index, len(x[0]))
            corner = np.where((weight > 0) == (end == "hi"), x[1], x[0])
            reach = int(weight @ corner) * (1 if end == "hi" else -1)
            if best is None or reach > best[0]:
                best = (reach, row, lane_index, weight)
    if best is None:
        raise ProgramError(f"the schedule has no segment for output {output}")
    return best[1], best[2], best[3]


def _place(
    node: Node, sum_of: tuple[Ints, Ints], proof: Proof, spec: TensorSpec, goal: tuple[int, End]
) -> tuple[NDArray[np.uint8], tuple[int, ...], int]:
    """The tensor, the output position, and the sum that the tensor gives there."""
    op, ranges = node.products, proof.ranges[node.inputs[0]]
    weight, operands = sum_of
    if op.window is None:
        tensor = np.broadcast_to(operands.astype(np.uint8), spec.shape).copy()
        return tensor, (0,) * max(len(spec.shape) - 1, 2), int(weight @ operands)
    output, end = goal
    channels = _channels(op, output)
    inside_range = np.clip(operands.reshape(*op.window.kernel, -1), ranges.lo[channels], ranges.hi[channels])
    best: tuple[int, tuple[int, ...], NDArray[np.bool_]] | None = None
    for pattern in product(*(_patterns(op.window, spec, axis) for axis in range(op.window.rank))):
        inside = outer(np.logical_and, [on_axis for _, on_axis in pattern])
        loaded = np.where(inside[..., None], inside_range, spec.affine.zero_point)
        reach = int(weight @ loaded.reshape(-1)) * (1 if end == "hi" else -1)
        if best is None or reach > best[0]:
            best = (reach, tuple(index for index, _ in pattern), inside)
    if best is None:
        raise ProgramError(f"{node.name}: has no output position")
    reach, position, inside = best
    tensor = _fill(op.window, ranges, spec, position, (inside_range, inside, channels))
    return tensor, position, reach if end == "hi" else -reach


def _channels(op: Products, output: int) -> slice:
    group = output // (op.outputs // op.channel_groups)
    return slice(group * op.group_channels, (group + 1) * op.group_channels)


def _patterns(window: Window, spec: TensorSpec, axis: int) -> list[tuple[int, NDArray[np.bool_]]]:
    """One output coordinate per different set of taps that lie inside the input, with that set."""
    inside = taps_inside(window, spec.shape[:-1], axis)
    _, first = np.unique(inside, axis=0, return_index=True)
    return [(int(index), inside[index]) for index in first]


def _fill(
    window: Window,
    ranges: ChannelRanges,
    spec: TensorSpec,
    position: tuple[int, ...],
    patch: tuple[Ints, NDArray[np.bool_], slice],
) -> NDArray[np.uint8]:
    """The patch at its place, the integer nearest to the zero point everywhere else."""
    values, inside, channels = patch
    background = np.clip(spec.affine.zero_point, ranges.lo, ranges.hi)
    tensor = np.broadcast_to(background, spec.shape).astype(np.uint8)
    for tap in np.argwhere(inside).tolist():
        place = [
            output * stride + index * step - before
            for output, stride, index, step, before in zip(
                position, window.stride, tap, window.dilation, window.padding[::2], strict=True
            )
        ]
        tensor[(*place, channels)] = values[tuple(tap)]
    return tensor


def total_witness(program: IntProgram, proof: Proof, sums: NodeProof) -> tuple[Witness, Witness]:
    """Inputs for the outputs of a node whose totals come nearest to both ends of s32."""
    low, high = int(np.argmin(sums.total.lo)), int(np.argmax(sums.total.hi))
    return (
        witness(program, proof, sums.node, low, "lo"),
        witness(program, proof, sums.node, high, "hi"),
    )
