"""The program while the importer writes it: which of the file's tensors is which of the program's.

Integers are u8 inside: the file's int8 are shifted by 128, zero points with them. Shapes are of one sample: the batch
goes, and (T, C) becomes (T, 1, C).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_tflite.graph import TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.multipliers import activation_range
from oaq.capture.imported import LayerSource, TensorSource
from oaq.errors import FormatError, ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Semantics
from oaq.operators import Shape, TensorSpec, output_shape
from oaq.program.int_program import Node

OFFSETS: Final = {"UINT8": 0, "INT8": 128}
"""What is added to the file's integers, by element type."""
SUMMING: Final = (ops.Conv2d, ops.Linear, ops.Add, ops.Mul, ops.Concat, ops.AvgPool, ops.GlobalAvgPool)
"""Operators whose result is requantized, so that a clamp costs nothing there."""


class Stays(Exception):
    """An operator stays outside the program. Its text says why; it never reaches a user as an error."""


@dataclass
class TfliteBuilder:
    """A program under construction.

    Attributes:
        graph: the file.
        semantics: of every requantizing node.
        values: the program's tensor by the file's.
        inputs: the program's inputs, in the order in which they are first read: by name, the file's tensor.
        specs: the program's tensors.
        nodes: by the tensor they write, in execution order.
        layers: where each Conv2d and Linear stands in the file.
        sources: where each tensor does.
        deviations: why a tensor may differ from LiteRT's, by name.
    """

    graph: TfliteGraph
    semantics: Semantics
    values: dict[int, str] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    layers: dict[str, LayerSource] = field(default_factory=dict)
    sources: dict[str, TensorSource] = field(default_factory=dict)
    deviations: dict[str, str] = field(default_factory=dict)

    def differs(self, operator: TfliteOperator, reason: str) -> None:
        """Note that the operator's result, just emitted, may differ from LiteRT's, and why."""
        self.deviations[self.values[operator.outputs[0]]] = reason

    def tensor(self, operator: TfliteOperator, index: int) -> TfliteTensor:
        """The input at that place, which must be there.

        Raises:
            FormatError: it is left out.
        """
        return self.graph.input_of(operator, index)

    def spec(self, tensor: TfliteTensor) -> TensorSpec:
        """An activation as the program has it, or would.

        Raises:
            Stays: it is a constant, or no 8-bit integers with one scale.
        """
        if tensor.index in self.values:
            return self.specs[self.values[tensor.index]]
        if tensor.constant:
            raise Stays(f"{tensor.name!r} is a constant")
        if tensor.state:
            raise Stays(f"{tensor.name!r} keeps its value between runs")
        return TensorSpec(_short(tensor.name), sample_shape(tensor), activation_map(tensor))

    def read(self, tensor: TfliteTensor) -> str:
        """The program's name for an activation; what nothing of the program writes becomes an input of it."""
        if tensor.index not in self.values:
            spec = self.spec(tensor)
            spec = replace(spec, name=self.unique(spec.name))
            self.specs[spec.name] = spec
            self.inputs[spec.name] = tensor.index
            self.sources[spec.name] = tensor_source(tensor)
            self.values[tensor.index] = spec.name
        return self.values[tensor.index]

    def emit(
        self,
        operator: TfliteOperator,
        op: ops.Op,
        inputs: Sequence[str],
        clamp: IntRange = U8,
        output: TfliteTensor | None = None,
    ) -> str:
        """Apply ``op`` to tensors of the program; the result is the operator's first output, or ``output``.

        Raises:
            Stays: the result is not 8-bit integers with one scale, or ``op`` only moves integers and the file gives
                them another meaning.
            FormatError: it has not the shape that the file says.
        """
        output = output or self.graph.tensors[operator.outputs[0]]
        name = self.add(operator, op, inputs, affine=activation_map(output), clamp=clamp, name=output.name)
        if self.specs[name].shape != sample_shape(output):
            raise FormatError(
                f"{operator}: computes {self.specs[name].shape}, but {output.name!r} is declared "
                f"{sample_shape(output)}; the file is damaged"
            )
        self.sources[name] = tensor_source(output)
        self.values[output.index] = name
        return name

    def add(
        self,
        operator: TfliteOperator,
        op: ops.Op,
        inputs: Sequence[str],
        *,
        affine: Affine,
        clamp: IntRange,
        name: str,
    ) -> str:
        """Append a node whose result need not be in the file; returns the tensor it writes, which has its name.

        Raises:
            Stays: ``op`` only moves integers, and ``affine`` is another map than theirs.
            FormatError: the inputs do not fit ``op``.
        """
        specs = [self.specs[tensor] for tensor in inputs]
        if ops.rules_of(op).same_affine:
            clamp = specs[0].range
            if affine != specs[0].affine:
                raise Stays(f"moves integers of {specs[0].affine} into {affine}, which changes what they mean")
        try:
            shape = output_shape(op, [spec.shape for spec in specs])
            spec = TensorSpec(self.unique(_short(name)), shape, affine, clamp)
        except ProgramError as error:
            raise FormatError(f"{operator}: {error}") from error
        self.specs[spec.name] = spec
        self.sources[spec.name] = TensorSource(spec.name)
        self.nodes[spec.name] = Node(spec.name, op, tuple(inputs), spec.name)
        return spec.name

    def moved(self, operator: TfliteOperator, moves: Iterable[ops.Op], tensor: str) -> str:
        """``tensor`` after operators that only move integers, none of whose results is in the file."""
        for op in moves:
            spec = self.specs[tensor]
            tensor = self.add(
                operator, op, [tensor], affine=spec.affine, clamp=spec.range, name=f"{operator.name}.moved"
            )
        return tensor

    def alias(self, tensor: TfliteTensor, to: TfliteTensor) -> None:
        """``to`` holds the very integers of ``tensor``, as u8."""
        self.values[to.index] = self.read(tensor)

    def narrow(self, tensor: TfliteTensor, clamp: IntRange, to: TfliteTensor) -> bool:
        """Make ``to``, which is ``tensor`` clamped, the result of the node that computes ``tensor``.

        Returns:
            False if that cannot be: the node does not requantize, or its result has other readers.
        """
        name = self.values.get(tensor.index, "")
        node = self.nodes.get(name)
        if node is None or not isinstance(node.op, SUMMING) or not self.is_private(tensor):
            return False
        spec = self.specs[name]
        lo, hi = max(spec.range.lo, clamp.lo), min(spec.range.hi, clamp.hi)
        if spec.affine != activation_map(to) or not lo <= spec.affine.zero_point <= hi:
            return False
        self.specs[name] = replace(spec, range=IntRange(lo, hi))
        self.sources[name] = tensor_source(to)
        self.values[to.index] = name
        return True

    def is_private(self, tensor: TfliteTensor) -> bool:
        """Exactly one operator reads it, the caller does not, and no other tensor of the file is the same one here."""
        name = self.values[tensor.index]
        alone = sum(1 for value in self.values.values() if value == name) == 1
        return alone and len(self.graph.readers.get(tensor.index, ())) == 1 and tensor.index not in self.graph.outputs

    def remove(self, tensor: TfliteTensor) -> str:
        """Take out the node that writes ``tensor``, which has no other reader; returns its one input."""
        name = self.values.pop(tensor.index)
        del self.specs[name], self.sources[name]
        return self.nodes.pop(name).inputs[0]

    def clamp(self, operator: TfliteOperator) -> IntRange:
        """What the operator's fused activation leaves of its output.

        Raises:
            Stays: it is one that does not clamp.
        """
        function = int(operator.option("FusedActivationFunction"))
        bounds = activation_range(function, activation_map(self.graph.tensors[operator.outputs[0]]))
        if bounds is None:
            raise Stays(f"its fused activation is number {function}, which is more than a clamp")
        return bounds

    def unique(self, name: str) -> str:
        """``name``, or ``name`` with the first number that makes it new."""
        candidate, count = name, 1
        while candidate in self.specs:
            count += 1
            candidate = f"{name}:{count}"
        return candidate


def activation_map(tensor: TfliteTensor) -> Affine:
    """The affine map of an activation as u8.

    Raises:
        Stays: it is not 8-bit integers, or has no scale or several.
        FormatError: scale or zero point are impossible.
    """
    if tensor.kind not in OFFSETS:
        raise Stays(f"{tensor.name!r} is {tensor.kind}, not 8-bit integers")
    if tensor.scale.size != 1 or tensor.blocks:
        raise Stays(f"{tensor.name!r} has {tensor.scale.size} scales; an activation has one")
    scales, zeros = scales_of(tensor)
    return Affine(float(scales[0]), int(zeros[0]) + OFFSETS[tensor.kind])


def scales_of(tensor: TfliteTensor) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points of quantized numbers, (n,) each.

    Raises:
        FormatError: a scale is not a positive normal float32, or a zero point is none of the type's integers.
    """
    wide = tensor.scale.astype(np.float64)
    wrong = ~((wide >= 2.0**-126) & (wide < np.inf))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise FormatError(
            f"tensor {tensor.name!r}: its scale {at} is {tensor.scale[at]}; a scale is positive, finite and a normal "
            "float32. Convert the model again"
        )
    zeros = tensor.zero_point if tensor.zero_point.size else np.zeros(1, np.int64)
    lo, hi = {"UINT8": (0, 255), "INT8": (-128, 127), "INT4": (-8, 7)}[tensor.kind]
    if int(zeros.min()) < lo or int(zeros.max()) > hi:
        raise FormatError(
            f"tensor {tensor.name!r}: zero points {zeros.min()}..{zeros.max()}, no {tensor.kind}; the file is damaged"
        )
    return tensor.scale, np.broadcast_to(zeros, tensor.scale.shape)


def sample_shape(tensor: TfliteTensor) -> Shape:
    """Shape of one sample, as the file has it: (C,), (T, C) or (H, W, C).

    Raises:
        Stays: it has other axes, or a batch that is fixed at more than 1.
    """
    shape = tensor.shape
    if len(shape) > 1 and shape[0] != 1:
        raise Stays(f"{tensor.name!r} is {shape}: its first axis is not a batch of 1")
    if not 1 <= len(shape) <= 4 or 0 in shape:
        raise Stays(
            f"{tensor.name!r} is {shape}, neither an image (1, H, W, C), nor tokens (1, T, C), nor a vector (1, C)"
        )
    return shape[1:] or shape


def sample_axes(rank: int) -> tuple[int, ...]:
    """For each axis of the program's shape, which of the file's ``rank`` axes it is."""
    return tuple(range(1, rank)) or (0,)


def tensor_source(tensor: TfliteTensor) -> TensorSource:
    """Where an activation stands in the file."""
    axes = sample_axes(len(tensor.shape))
    return TensorSource(tensor.name, OFFSETS[tensor.kind], None if len(tensor.shape) == 1 else axes)


def _short(name: str) -> str:
    """Converters join the names of everything a tensor was made from by ";": the first is what computes it."""
    return name.partition(";")[0] or name
