"""An input that drives a register of one layer out of its range: of the layer always, of the whole network if found.

For the layer it is built: every operand at the end of its proved range that pushes the sum, so that all registers of
the output are driven at once. For the network it is exact where the layer reads the network's input (or a reshape of
it). Deeper, inputs are tried: given data first, then small changes of whatever came nearest. A search that finds
nothing proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq import reference
from oaq.doctor.diagnose import verdict
from oaq.doctor.observed import Watch, true_sums, watches
from oaq.doctor.registers import RegisterModel
from oaq.doctor.sums import registers_of
from oaq.errors import AccumulatorOverflow, NoKernel, ProgramError
from oaq.kernels.plan import plan
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import TensorSpec
from oaq.operators.products import multipliers_of
from oaq.overflow.analyze import analyze
from oaq.overflow.bounds import weight_bound
from oaq.overflow.operands import operands_as_loaded
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.settle import settle
from oaq.overflow.witness import End, witness
from oaq.program.int_program import IntProgram, Node
from oaq.runtime import Session

U8s = NDArray[np.uint8]
How = Literal["built", "data", "search", "not found"]
TRIALS: Final = 400
"""Changed inputs that a search tries by default."""
NOWHERE: Final = -(1 << 62)
"""How far an input that shows nothing drives a register."""
PATCHES: Final = (0.5, 0.25, 0.125)
"""Parts of an image's side that one change touches."""


@dataclass(frozen=True, eq=False)
class Trigger:
    """What drives one output of one layer out of its registers.

    Attributes:
        node, output, register: which.
        limit: what a register holds, (least, most).
        tensor: (1, ...) integers of the layer's input.
        reached: the sum that register is asked to hold there.
        position: of the layer's output, counted row by row.
        lost: what all registers of that output lose there if they saturate; None if they wrap.
        network: (1, ...) integers of the network's input that do it; None if none was found.
        network_reached: what they ask a register of this output to hold; without one, the most that any tried did.
        how: how the network's input was come by.
        trials: inputs of the network that were tried.
    """

    node: str
    output: int
    register: str
    limit: tuple[int, int]
    tensor: U8s
    reached: int
    position: int
    lost: int | None
    network: U8s | None
    network_reached: int | None
    how: How
    trials: int

    @property
    def leaves(self) -> bool:
        """The layer's input really drives a register out of its range."""
        return not self.limit[0] <= self.reached <= self.limit[1]


def find_trigger(
    program: IntProgram,
    at: tuple[str, int],
    model: RegisterModel,
    data: Iterable[U8s] = (),
    *,
    unsigned: bool = False,
    trials: int = TRIALS,
    progress: Callable[[], None] | None = None,
) -> Trigger:
    """Drive a register of ``at`` = (layer, output) out of its range.

    Args:
        program: whose layer it is.
        at: which layer and which of its outputs.
        model: the registers.
        data: integers of the network's input, in batches, to try and to start from.
        unsigned: the layer's file stores its weights as u8.
        trials: changed inputs to try where none can be built.
        progress: called after every input tried.

    Raises:
        UnsupportedOp: the layer wraps by design.
        ProgramError: no such layer, or its registers of that output are proved: nothing drives them out.
    """
    node, watched, op = _watched(program, at, model, unsigned)
    spec, running = program.specs(node)[0], settle(program).program
    tensor = _of_the_layer(running, _proved(running, node), at, (watched, op, spec))
    extreme, position, loss = _measured(watched, op, spec, tensor)
    limit = watched[0].layer.accumulator.range
    trigger = Trigger(
        node.name, at[1], model.name, (limit.lo, limit.hi), tensor, extreme, position, loss, None, None, "not found", 0
    )
    back = _to_network(program, node, tensor)
    if back is not None:
        return replace(trigger, network=back, network_reached=extreme, how="built")
    if len(program.inputs) != 1:
        return trigger
    return _Search(running, node, (watched, op, spec)).run(trigger, data, trials, progress)


def _watched(
    program: IntProgram, at: tuple[str, int], model: RegisterModel, unsigned: bool
) -> tuple[Node, list[Watch], ops.Products]:
    name, output = at
    node = program.by_name.get(name)
    if node is None or not isinstance(node.op, ops.Products) or not 0 <= output < len(node.op.weight):
        raise ProgramError(f"{program.name} has no output {output} of a layer {name!r}")
    multipliers_of(node.op, name)  # a layer that wraps by design has no register to be kept
    layers = registers_of(node.op, program.specs(node)[0], model, unsigned=unsigned)
    output_watches = []
    for watch in watches(layers):
        of_output = watch.outputs == output
        if of_output.any():
            output_watches.append(replace(watch, outputs=watch.outputs[of_output], cell=watch.cell[of_output]))
    if not output_watches and (reason := verdict(node.op, program.specs(node)[0], model, unsigned=unsigned).why):
        raise ProgramError(f"{name} on {model.name}: {reason}: every sum is undefined there, whatever it is")
    if not output_watches:
        raise ProgramError(f"{name}, output {output}: proved safe on {model.name}; no input drives it out")
    narrow = [watch for watch in output_watches if not watch.layer.accumulator.is_exact]
    return node, narrow or output_watches, node.op  # the 32 bits behind only where nothing before them is left


def _proved(program: IntProgram, node: Node) -> Proof:
    """Proved ranges; where a sum that leaves 32 bits forbids a proof, those that the program declares."""
    try:
        return analyze(program)
    except AccumulatorOverflow:
        ranges = {name: ChannelRanges.constant(spec.range, spec.channels) for name, spec in program.tensors.items()}
        spec, op = program.specs(node)[0], node.products
        operands = operands_as_loaded(op, ranges[node.inputs[0]], spec)
        ends = weight_bound(op.rows, operands.lo, operands.hi, partial=False)
        total = ChannelRanges(ends.lo, ends.hi)
        folded = np.zeros(op.outputs, np.int32)
        sums = NodeProof(node.name, operands, total, ends, ends, folded, prod(program.tensors[node.output].shape[:-1]))
        return Proof(program.name, ranges, {node.name: sums})


def _of_the_layer(
    program: IntProgram,
    proof: Proof,
    at: tuple[str, int],
    layer: tuple[list[Watch], ops.Products, TensorSpec],
) -> U8s:
    """The end, least or greatest sum, whose operands go further beyond a register."""
    ends: tuple[End, End] = ("hi", "lo")
    tensors = [witness(program, proof, *at, end).tensor[None] for end in ends]
    excesses = [_excess(*layer, tensor) for tensor in tensors]
    return tensors[int(np.argmax(excesses))]


def _excess(watched: list[Watch], op: ops.Products, spec: TensorSpec, tensor: U8s) -> int:
    """Largest distance of a sum beyond its register, or, negative, how far all stay inside."""
    most = NOWHERE
    for watch in watched:
        register = watch.layer.accumulator.range
        for _, low, high in true_sums(watch, op, tensor, spec.affine.zero_point):
            most = max(most, int(high.max()) - register.hi, register.lo - int(low.min()))
    return most


def _measured(watched: list[Watch], op: ops.Products, spec: TensorSpec, tensor: U8s) -> tuple[int, int, int | None]:
    """(sum furthest out, output position, what saturation takes there)."""
    furthest, best = NOWHERE, (0, 0)
    for watch in watched:
        register = watch.layer.accumulator.range
        for _, low, high in true_sums(watch, op, tensor, spec.affine.zero_point):
            for sums, excess in ((high, high - register.hi), (low, register.lo - low)):
                row, position = np.unravel_index(int(np.argmax(excess)), excess.shape)
                if int(excess[row, position]) > furthest:
                    furthest, best = int(excess[row, position]), (int(sums[row, position]), int(position))
    first = watched[0]
    if first.layer.accumulator.group_overflow != "saturates" or first.bounds.kind != "group":
        return *best, None
    register, loss = first.layer.accumulator.range, 0
    for _, low, high in true_sums(first, op, tensor, spec.affine.zero_point):
        loss += int(np.maximum(high[:, best[1]] - register.hi, 0).sum())
        loss -= int(np.maximum(register.lo - low[:, best[1]], 0).sum())
    return *best, loss


def _to_network(program: IntProgram, node: Node, tensor: U8s) -> U8s | None:
    """The network's input that gives the layer ``tensor``, where nothing but reshapes lies between."""
    name = node.inputs[0]
    writers = {writer_node.output: writer_node for writer_node in program.nodes}
    while name in writers:
        writer = writers[name]
        if not isinstance(writer.op, ops.Reshape):
            return None
        name = writer.inputs[0]
        tensor = tensor.reshape(1, *program.tensors[name].shape)
    return tensor if len(program.inputs) == 1 else None


class _Search:
    """Inputs of the network, and what they do to one layer."""

    def __init__(self, program: IntProgram, node: Node, layer: tuple[list[Watch], ops.Products, TensorSpec]) -> None:
        self._layer, self._spec = layer, program.tensors[program.inputs[0]]
        self._run = _upto(program, node.inputs[0])
        self.trials_done = 0

    def score(self, x: U8s) -> int:
        """How far one input drives a register beyond its range."""
        self.trials_done += 1
        try:
            return _excess(*self._layer, self._run(x))
        except AccumulatorOverflow:  # an earlier layer leaves 32 bits on this input: nothing is defined behind it
            return NOWHERE

    def run(self, trigger: Trigger, data: Iterable[U8s], trials: int, progress: Callable[[], None] | None) -> Trigger:
        """Data, then changes of the nearest."""
        best, nearest = NOWHERE, None
        source: How = "data"
        for from_data, x in self._candidates(data):
            if best > 0 and not from_data:
                break
            score = self.score(x)
            if progress is not None:
                progress()
            if score > best:
                best, nearest = score, x
                source = "data" if from_data else "search"
        rng = np.random.default_rng(0)
        for _ in range(trials if nearest is not None and best <= 0 else 0):
            assert nearest is not None
            source = "search"
            x = _changed(nearest, self._spec, rng)
            score = self.score(x)
            if progress is not None:
                progress()
            if score >= best:
                best, nearest = score, x
            if best > 0:
                break
        if nearest is None:  # every input tried makes an earlier layer leave 32 bits
            return replace(trigger, trials=self.trials_done)
        extreme, _, _ = _measured(*self._layer, self._run(nearest))
        return replace(
            trigger,
            network=nearest if best > 0 else None,
            network_reached=extreme,
            how=source if best > 0 else "not found",
            trials=self.trials_done,
        )

    def _candidates(self, data: Iterable[U8s]) -> Iterator[tuple[bool, U8s]]:
        """(whether it was given, input): all data, then three of our own."""
        for batch in data:
            for sample in batch:
                yield True, sample[None]
        rng = np.random.default_rng(1)
        lo, hi = self._spec.range.lo, self._spec.range.hi
        shape = (1, *self._spec.shape)
        yield False, np.full(shape, hi, np.uint8)
        yield False, np.full(shape, lo, np.uint8)
        yield False, rng.integers(lo, hi + 1, shape).astype(np.uint8)


def _upto(program: IntProgram, name: str) -> Callable[[U8s], U8s]:
    """Runs the network as far as one tensor: natively where that can be done."""
    needed, nodes = {name}, list[Node]()
    for node in reversed(program.nodes):
        if node.output in needed:
            nodes.append(node)
            needed.update(node.inputs)
    part = IntProgram(
        f"{program.name}, up to {name}",
        program.inputs,
        (name,),
        {key: spec for key, spec in program.tensors.items() if key in needed or key in program.inputs},
        tuple(reversed(nodes)),
        program.requantize,
        program.metadata,
    )
    try:
        session = Session(plan(part))
    except (NoKernel, AccumulatorOverflow):
        return lambda x: reference.run(part, x).outputs[0]
    return lambda x: session.run_integers(x)[0]


def _changed(x: U8s, spec: TensorSpec, rng: np.random.Generator) -> U8s:
    """One patch set to an end, to noise, or brought nearer to an end; or the whole mirrored or stretched."""
    lo, hi = spec.range.lo, spec.range.hi
    result = x.copy()
    if x.ndim == 2 or rng.random() < 0.1:
        gain = rng.uniform(0.5, 2.0)
        middle = spec.affine.zero_point
        return np.clip(np.rint((x.astype(np.float64) - middle) * gain + middle), lo, hi).astype(np.uint8)
    side = float(rng.choice(PATCHES))
    sizes = [max(1, int(size * side)) for size in x.shape[1:-1]]
    starts = [int(rng.integers(0, extent - size + 1)) for extent, size in zip(x.shape[1:-1], sizes, strict=True)]
    place = (slice(None), *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True)), slice(None))
    patch, channels = result[place], (*(1,) * (x.ndim - 1), x.shape[-1])
    match int(rng.integers(3)):
        case 0:
            result[place] = rng.choice([lo, hi], size=channels)
        case 1:
            result[place] = rng.integers(lo, hi + 1, patch.shape)
        case _:
            end = rng.choice([lo, hi], size=channels)
            result[place] = (patch.astype(np.int64) + end) // 2
    return result
