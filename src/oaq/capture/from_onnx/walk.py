"""``Walk``: the state of an import, and the few things every operator's rule does with it.

Each node of the file is offered to a rule in execution order. A rule that can turn it into integers writes to the draft
and says what the node's results are; one that cannot raises ``Stays``, and the node stays in float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx.attributes import integers
from oaq.capture.from_onnx.draft import Draft, DraftTensor, arrangement, full, program_shape, spatial
from oaq.capture.from_onnx.graph import Array, OnnxGraph, OnnxNode
from oaq.capture.from_onnx.order import channel_axis
from oaq.capture.from_onnx.own import is_own
from oaq.capture.from_onnx.sums import Sums
from oaq.capture.from_onnx.values import (
    Extreme,
    Integers,
    Meaning,
    Pending,
    Reals,
    Stays,
    Value,
    View,
    arranged,
    curve_of,
    extended,
    settled,
)
from oaq.capture.from_onnx.weights import count_readers
from oaq.capture.layout import Layout
from oaq.errors import UnsupportedOp
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize

if TYPE_CHECKING:
    from oaq.capture.imported import LayerSource

EIGHT_BITS = (np.dtype(np.uint8), np.dtype(np.int8))


class Walk:
    """One import.

    Attributes:
        graph: the file.
        draft: the program so far.
        values: what is known of each tensor of the file; island tensors have none.
        meanings: scale and zero point of integer tensors, as far as any node of the file states them.
        readers: how many nodes of the file read each tensor.
        notes: for the user.
        why: why a node stays in float, by its name.
        absorbed: names of nodes that the program computes.
        transparent: names of nodes that cost nothing as long as integers read them: DequantizeLinear, Transpose, ...
        sources: of layers, by number of the tensor they write.
        made: number of the tensor that holds the sums of a node, by its name.
        entries: tensor of the file that each input of the program holds, by number.
        entry_layouts: in which order the program holds it, by number.
        rounded: layers whose bias is real in the file and no whole number of steps.
        quantized: integers made of a float tensor so far, with their range then, by its name and their meaning.
    """

    def __init__(self, graph: OnnxGraph, meanings: Mapping[str, Meaning]) -> None:
        self.graph = graph
        self.draft = Draft()
        self.draft.is_own = is_own(graph)
        self.values: dict[str, Value] = {}
        self.meanings = meanings
        self.readers = count_readers(graph)
        self.notes: list[str] = []
        self.reasons: dict[str, str] = {}
        self.absorbed: dict[str, None] = {}
        self.transparent: dict[str, None] = {}
        self.sources: dict[int, LayerSource] = {}
        self.results: dict[str, int] = {}
        self.entries: dict[int, str] = {}
        self.entry_layouts: dict[int, Layout] = {}
        self.rounded: dict[str, None] = {}
        self.quantized: dict[tuple[str, Meaning], tuple[View, IntRange]] = {}

    def sample(self, name: str) -> tuple[int, ...]:
        """The shape of one sample of a tensor of the file.

        Raises:
            Stays: it has no batch axis, or its shape is unknown.
        """
        shape = self.graph.types[name].shape if name in self.graph.types else None
        if not shape or shape[0] != self.graph.batch:
            raise Stays(f"the tensor {name!r} of shape {shape} is not one sample after the other")
        return shape[1:]

    def constant(self, name: str, role: str) -> Array:
        """An input that must be a constant.

        Raises:
            Stays: it is computed.
        """
        value = self.graph.constant(name)
        if value is None:
            raise Stays(f"its {role} is computed while it runs")
        return value

    def meaning(self, scale: str, zero_point: str, signed: bool) -> Meaning:
        """The one scale and zero point of a tensor.

        Raises:
            Stays: they are computed while the network runs, or there is one per channel.
        """
        result = constant_meaning(self.graph, scale, zero_point, signed)
        if result is None:
            sizes = [self.graph.constants[part].size for part in (scale, zero_point) if part in self.graph.constants]
            if len(sizes) < 1 + bool(zero_point):
                raise Stays("its scale or zero point is computed while it runs")
            raise Stays(f"it has {max(sizes)} scales or zero points, one for each channel; activations have one here")
        return result

    def reals(self, name: str) -> Reals:
        """A float tensor that integers stand for.

        Raises:
            Stays: none do.
        """
        value = self.values.get(name)
        if not isinstance(value, Reals):
            raise Stays(f"its input {name!r} is not quantized: {self.why_not_real(name)}")
        return value

    def why_not_real(self, name: str) -> str:
        """Why no integers stand for a float tensor."""
        node = self.graph.producers.get(name)
        match self.values.get(name):
            case Integers():
                return "it is integers that no DequantizeLinear reads"
            case Extreme(node=between):
                return f"no QuantizeLinear comes between {between.name!r} ({between.kind}) and it"
            case Pending(nodes=nodes, moves=moves):
                last = (moves or nodes)[-1]
                return f"no QuantizeLinear comes between {last.name!r} ({last.kind}) and it"
        if name in self.graph.constants:
            return "it is a constant"
        if node is None:
            return "it is left out" if not name else "it is an input of the network"
        return f"{node.name!r} ({node.kind}) stays in float"

    def plain(self, name: str) -> View:
        """A float tensor that is nothing but dequantized integers.

        Raises:
            Stays: it is something else.
        """
        reals = self.reals(name)
        if reals.curve is not None:
            raise Stays(f"its input {name!r} is not quantized after {reals.nodes[-1].kind}")
        return reals.view

    def integers(self, name: str, meaning: Meaning) -> View:
        """An integer tensor, read with that meaning.

        Raises:
            Stays: it is not an 8-bit tensor.
        """
        value = self.values.get(name)
        if value is None:
            if self.graph.dtype(name) not in EIGHT_BITS or name in self.graph.constants:
                raise Stays(f"its input {name!r} is not a tensor of 8-bit integers")
            view = self.entry(name, meaning, name)
            self.values[name] = Integers(view, meaning.offset)
            return view
        if not isinstance(value, Integers) or value.index or value.offset != meaning.offset:
            raise Stays(f"its input {name!r} is not a tensor of 8-bit integers")
        tensor = self.draft.tensors[value.view.tensor]
        if tensor.affine == meaning.affine:
            return value.view
        # The same integers, taken to mean something else.
        view = settled(self.draft, value.view)
        identity = np.arange(256).astype(np.uint8)
        number = self.draft.emit(
            f"{name}.as", ops.Lookup(identity), [view.tensor], full(meaning.affine, name, view.layout)
        )
        self.draft.tensors[number].offset = meaning.offset
        return View(number, view.layout)

    def entry(self, name: str, meaning: Meaning, integers: str) -> View:
        """A new input of the program.

        Args:
            name: of the tensor of the file that it holds (real or integer).
            meaning: of its integers.
            integers: name of its integers in the file.
        """
        shape = self.sample(name)
        order = entry_order(self.graph, name, len(shape))
        layout = Layout.in_order(shape, order)
        reach = replace(meaning, bits=self.graph.bits(integers) or meaning.bits).reach
        tensor = DraftTensor(program_shape(shape, order), meaning.affine, reach, integers, layout, meaning.offset, True)
        tensor.is_stated = integers in self.meanings or name in self.meanings
        if name in self.graph.inputs and all(tensor.name != name for tensor in self.draft.tensors):
            tensor.name = name
        number = self.draft.tensor(tensor)
        self.draft.inputs.append(number)
        self.entries[number] = name
        self.entry_layouts[number] = layout
        return View(number, layout)

    def result(self, meaning: Meaning, file: str, layout: Layout, reach: IntRange = U8) -> DraftTensor:
        """An integer tensor of the file that a node is about to write."""
        tensor = full(meaning.affine, file, layout)
        tensor.offset, tensor.is_integer, tensor.range = meaning.offset, True, reach
        return tensor

    def requantized(self, reals: Reals, meaning: Meaning, file: str, node: OnnxNode) -> View:
        """The integers that QuantizeLinear makes of a function of integers."""
        if reals.axis is not None:
            return self._by_channel(reals, reals.axis, meaning, file)
        view = settled(self.draft, reals.view)
        source = self.draft.tensors[view.tensor]
        table = meaning.affine.quantize(curve_of(self.draft, reals), U8)
        reachable = np.arange(source.range.lo, source.range.hi + 1)
        if source.affine == meaning.affine and np.array_equal(table[reachable], reachable):
            if not source.is_integer:
                source.file, source.layout, source.offset, source.is_integer = file, view.layout, meaning.offset, True
            return view
        name = reals.nodes[0].name if reals.nodes else node.name
        number = self.draft.emit(name, ops.Lookup(table), [view.tensor], self.result(meaning, file, view.layout))
        return View(number, view.layout)

    def _by_channel(self, reals: Reals, axis: int, meaning: Meaning, file: str) -> View:
        """A table for each place of ``axis``, which is the program's channels then."""
        order = (*(other for other in range(len(reals.view.shape)) if other != axis), axis)
        view = arranged(self.draft, reals.view, order)
        tables = meaning.affine.quantize(curve_of(self.draft, reals), U8)
        result = self.result(meaning, file, Layout.in_order(view.shape, order))
        number = self.draft.emit(reals.nodes[0].name, ops.ChannelLookup(tables), [view.tensor], result)
        return View(number, result.layout)

    def materialized(self, pending: Pending, meaning: Meaning, file: str) -> View:
        """The integers that QuantizeLinear makes of a float result of integers (moves of it not done yet)."""
        affine = meaning.affine
        reach = clamp_range(affine, pending.clamp)
        within = affine.zero_point in reach
        tensor = self.result(meaning, file, pending.layout, reach if within else U8)
        number = self.draft.emit(pending.name, pending.make(affine.scale), pending.inputs, tensor)
        self.absorb(pending.nodes)
        if isinstance(pending.sums, Sums):
            sums = pending.sums
            x = self.draft.tensors[sums.x]
            self.sources[number] = sums.source(Meaning(x.affine.scale, x.affine.zero_point - x.offset, False), meaning)
            self.results[sums.node.name] = number
            if sums.is_bias_rounded():
                self.rounded[pending.name] = None
        if not within:
            table = np.clip(np.arange(256), reach.lo, reach.hi).astype(np.uint8)
            clamped = self.result(meaning, file, pending.layout)
            self.draft.tensors[number].is_integer = self.draft.tensors[number].is_of_file = False
            number = self.draft.emit(f"{pending.name}.clamp", ops.Lookup(table), [number], clamped)
        for op in pending.after:
            inner = self.draft.tensors[number]
            inner.file, inner.is_integer, inner.is_of_file = f"{pending.name}.phases", False, False
            number = self.draft.emit(f"{pending.name}.moved", op, [number], replace(tensor, is_integer=True))
        return View(number, pending.layout)

    def absorb(self, nodes: Iterable[OnnxNode]) -> None:
        """The program computes these."""
        self.absorbed.update((node.name, None) for node in nodes)

    def attempt(self, rule: Callable[[Walk, OnnxNode], None], node: OnnxNode) -> None:
        """Offer a node to its rule; if it stays in float, all that the rule has begun is taken back.

        Raises:
            Stays: from the rule.
        """
        mark = self.draft.mark()
        of_file: tuple[dict, ...] = (self.values, self.quantized, self.absorbed, self.transparent, self.rounded)
        journals = (*of_file, self.sources, self.results, self.entries)
        lengths = [len(journal) for journal in journals]
        notes = len(self.notes)
        try:
            rule(self, node)
        except (Stays, UnsupportedOp):
            self.draft.undo(mark)
            for journal, length in zip(journals, lengths, strict=True):
                while len(journal) > length:
                    journal.popitem()
            del self.notes[notes:]
            raise


def entry_order(graph: OnnxGraph, name: str, rank: int) -> tuple[int, ...]:
    """In which order the program holds a tensor that enters it: as its first reader wants it.

    Files made from channels-last networks transpose their input first, (0, 3, 1, 2): it is the program's order already.
    Lines that a window slides over, (channels, length), lie in memory as (length, channels); tokens lie as they are.
    """
    axis = channel_axis(graph, name, rank) if rank > 1 else None
    if rank in (2, 4) and axis is not None:
        return spatial(rank) if axis == 1 else tuple(range(rank))
    if axis == rank > 2:
        return tuple(range(rank))
    pending, visited = [name], {name}
    while pending:
        for node in graph.consumers.get(pending.pop(0), ()):
            if node.op == "Transpose" and rank == 3 and integers(node, "perm") == (0, 3, 1, 2):
                return (0, 1, 2)
            if node.op in ("QuantizeLinear", "DequantizeLinear") and node.outputs and node.outputs[0] not in visited:
                visited.add(node.outputs[0])
                pending.append(node.outputs[0])
    return arrangement(rank)


def constant_meaning(graph: OnnxGraph, scale: str, zero_point: str, signed: bool) -> Meaning | None:
    """One scale and zero point that are constants; None if they are not."""
    s, z = graph.constant(scale), graph.constant(zero_point) if zero_point else np.zeros((), np.int64)
    if s is None or z is None or s.size != 1 or z.size != 1:
        return None
    return Meaning(float(np.float32(s.reshape(-1)[0])), int(z.reshape(-1)[0]), signed)


def clamp_range(affine: Affine, clamp: tuple[float, float]) -> IntRange:
    """The u8 that quantizing leaves of real bounds: quantizing is monotone, so clamping commutes with it."""
    lo, hi = (int(end) for end in affine.quantize(np.array(clamp, np.float32), U8))
    return IntRange(min(lo, hi), hi)


def multipliers(ratios: Sequence[np.floating] | NDArray[np.floating]) -> Requantize:
    """Float32 multipliers.

    Raises:
        Stays: one is zero or infinite.
    """
    numbers = np.asarray(ratios, np.float32)
    if not np.all(np.isfinite(numbers)) or np.any(numbers <= 0):
        raise Stays("its scales are so far apart that no float32 multiplier joins them")
    return Requantize(numbers)


def clamped(pending: Pending, lo: float, hi: float, node: OnnxNode) -> Pending:
    """A float result, clamped once more."""
    least, most = (min(max(end, lo), hi) for end in pending.clamp)
    return replace(pending, clamp=(least, most), nodes=extended(pending.nodes, node))
