"""A ``FloatGraph`` while it grows: what every front end does with layers, whichever format it reads.

Batch norms and constants become part of the layer before them, clamps part of the operator they follow, rows and
columns of zeros part of the convolution that reads them. *Whether* an operator may become part of another (its result
has no other reader) is for the front end to say; how, is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from oaq import operators as ops
from oaq.capture.folding import Floats, compose, narrowed
from oaq.capture.graph import (
    FloatArray,
    FloatChannelFunction,
    FloatClamp,
    FloatConv2d,
    FloatFunction,
    FloatGraph,
    FloatLinear,
    FloatNode,
    FloatOp,
    FloatProducts,
    FloatReshape,
    Unquantized,
    rules_of,
)
from oaq.capture.layout import Layout
from oaq.capture.location import Location
from oaq.capture.order import nhwc_order, permutes
from oaq.capture.rearrange import in_channels_first_order
from oaq.capture.shared import without_single_parameters
from oaq.errors import ProgramError
from oaq.operators import LARGEST_WINDOW
from oaq.operators.tensor import Shape
from oaq.program.layout import channels_first

GATES = {FloatFunction("sigmoid"): "silu", FloatFunction("hardsigmoid"): "hardswish"}
"""What x times a function of x is."""

WIDEST_DIAGONAL = 4096
"""A scale per element of a longer vector is refused: as a matrix it would be almost nothing but zeros."""

LARGEST_RANK = 4
"""Axes of one sample in a float graph: (C, D, H, W)."""
LARGEST_RESHAPED = 3
"""Axes of what a reshape makes or a reader has moved, unless it has read a volume: beyond, they are only counted."""


@dataclass
class Assembly:
    """A graph under construction.

    Attributes:
        name: of the graph.
        inputs: tensors the caller provides.
        shapes: of one sample, by tensor.
        nodes: by the tensor they write, in execution order.
        norms: what batch norms that became part of layers say of their results: see ``FloatGraph``.
        inner: tensors between nodes that compute one layer together: one node reads each, and no front end knows it.
    """

    name: str
    inputs: list[str] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: dict[str, FloatNode] = field(default_factory=dict)
    norms: dict[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    inner: set[str] = field(default_factory=set)

    def append(self, op: FloatOp, inputs: Iterable[str], shape: Shape, site: Location) -> str:
        """Append a node; returns the tensor it writes, which has the node's name.

        Raises:
            UnsupportedOp: samples have more axes than oaq takes.
            ProgramError: weights are not finite.
        """
        name, count = site.name, 1
        while name in self.shapes:
            count += 1
            name = f"{site.name}:{count}"
        _check_finite(op, site)
        self.shapes[name] = checked_shape(shape, site)
        self.nodes[name] = FloatNode(name, op, tuple(inputs), name)
        return name

    def change(self, tensor: str, op: FloatOp, site: Location) -> None:
        """Give the node that writes ``tensor`` another operator, because what stands at ``site`` becomes part of it."""
        _check_finite(op, site)
        self.nodes[tensor] = replace(self.nodes[tensor], op=op)
        self.norms.pop(tensor, None)

    def note_norm(self, tensor: str, moments: tuple[Floats, Floats]) -> None:
        """Keep (mean, deviation) that a batch norm gives ``tensor``, if a layer writes it."""
        if tensor in self.nodes and isinstance(self.nodes[tensor].op, FloatProducts):
            mean, deviation = moments
            self.norms[tensor] = narrowed(np.broadcast_to(mean, deviation.shape)), narrowed(np.abs(deviation))

    def remove(self, tensor: str) -> str:
        """Take out the node that writes ``tensor`` and has one input; returns that input."""
        del self.shapes[tensor]
        return self.nodes.pop(tensor).inputs[0]

    def clamp(self, tensor: str, bounds: FloatClamp, before: FloatNode | None, site: Location) -> str:
        """Clamp a tensor: inside the operator ``before`` that computes it, where that is given and possible.

        Operators that requantize their result clamp it for nothing; those that only move values do not clamp.
        Bounds that exclude 0.0 stay a function: an operator's own range always holds its zero point.
        """
        bounds = tuple(None if bound is None or math.isinf(bound) else bound for bound in bounds)  # type: ignore
        source = before if before is None else self._moved(before)[0]
        if before is not None and source is not None and not rules_of(source.op).same_affine:
            merged = compose(source.clamp, bounds)
            if merged is not None and (merged[0] or 0.0) <= 0.0 <= (merged[1] or 0.0):
                self.nodes[source.output] = replace(source, clamp=merged)
                return before.output
        lo, hi = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
        return self.append(FloatFunction("clamp", (float(lo), float(hi))), (tensor,), self.shapes[tensor], site)

    def scale_and_shift(
        self, tensor: str, numbers: tuple[Floats, Floats], before: FloatNode | None, site: Location
    ) -> str:
        """X * scale + shift, each a number or (C,): part of the layer ``before``, or depthwise with one tap.

        A vector that no layer computes is multiplied by a diagonal matrix.

        Raises:
            UnsupportedOp: such a vector is longer than ``WIDEST_DIAGONAL``.
        """
        shape = self.shapes[tensor]
        scale, shift = (np.broadcast_to(array, (shape[0],)) for array in numbers)
        if before is not None and self._scale_layer(before, scale, shift, site):
            return tensor
        if len(shape) == 1:
            if shape[0] > WIDEST_DIAGONAL:
                raise site.unsupported(f"on {shape[0]} elements that no layer computes; put it after a layer")
            return self.append(FloatLinear(narrowed(np.diag(scale)), narrowed(shift)), (tensor,), shape, site)
        weight = narrowed(scale.reshape(-1, *(1,) * len(shape)))
        return self.append(FloatConv2d(weight, narrowed(shift), groups=shape[0]), (tensor,), shape, site)

    def _scale_layer(self, before: FloatNode, scale: Floats, shift: Floats, site: Location) -> bool:
        """Multiply and shift, by (C,) numbers of its channels, what ``before`` gives, in the layer that computes it."""
        source, moves = self._moved(before)
        if source.clamp is not None or not isinstance(source.op, FloatProducts):
            return False
        for move in moves:
            scale, shift = (_before(move.op, numbers, self.shapes[move.inputs[0]]) for numbers in (scale, shift))
        weight, bias = source.op.weight.astype(np.float64), source.op.bias.astype(np.float64)
        rows = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        shared = source.op.shared
        if shared is not None:
            shared = replace(shared, gain=shared.gain * scale)
        op = replace(source.op, weight=narrowed(weight * rows), bias=narrowed(bias * scale + shift), shared=shared)
        self.change(source.output, op, site)
        return True

    def _moved(self, node: FloatNode) -> tuple[FloatNode, tuple[FloatNode, ...]]:
        """The node whose values ``node`` gives, and those that only move them on the way, the last first."""
        moves: list[FloatNode] = []
        while node.inputs and node.inputs[0] in self.inner and node.inputs[0] in self.nodes:
            moves.append(node)
            node = self.nodes[node.inputs[0]]
        return node, tuple(moves)

    def reshape(self, tensor: str, shape: Shape, before: FloatNode | None, site: Location) -> str:
        """Values in the order of (C, ...) under another shape.

        A vector that becomes an image has the rows of the linear layer ``before`` it put in the order in which an
        image's integers lie; what else does not lie in that order is moved.

        Raises:
            UnsupportedOp: more stretches of memory would move than a Transpose has.
        """
        order = nhwc_order(checked_shape(shape, site))
        if len(shape) == 1 or np.array_equal(nhwc_order(self.shapes[tensor]), order):
            return self.append(FloatReshape(shape), (tensor,), shape, site)
        if before is None or not isinstance(before.op, FloatLinear) or len(self.shapes[tensor]) != 1:
            plain = Layout.in_order(self.shapes[tensor], range(len(self.shapes[tensor])))
            return self.rearrange(tensor, reshaped(plain, shape), site)
        self.change(
            tensor, replace(before.op, weight=before.op.weight[order], bias=before.op.bias[order], shared=None), site
        )
        return self.append(FloatReshape(shape, channels_last=True), (tensor,), shape, site)

    def rearrange(self, tensor: str, layout: Layout, site: Location) -> str:
        """The tensor with the file's axes for its own, in their order: moved by as few nodes as do.

        Args:
            tensor: whose memory is seen as (C, ...).
            layout: of that memory, by the axes of one sample in the file.
            site: where it is needed.

        Raises:
            UnsupportedOp: the file's axes are more than oaq takes, or more stretches move than a Transpose has.
        """
        checked_shape(layout.shape, site, max(LARGEST_RESHAPED, len(self.shapes[tensor])))
        try:
            moves = in_channels_first_order(self.shapes[tensor], layout)
        except ProgramError as error:
            raise site.unsupported(str(error)) from error
        for op in moves:
            if isinstance(op, ops.Reshape) and channels_first(op.shape) == self.shapes[tensor]:
                continue
            shape = channels_first(op.shape) if isinstance(op, ops.Transpose | ops.Reshape) else ()
            moved: FloatOp = op if isinstance(op, ops.Transpose) else FloatReshape(shape, channels_last=True)
            tensor = self.append(moved, (tensor,), shape, site)
        return tensor

    def join_padding(
        self, tensor: str, padding: tuple[int, ...], before: FloatNode | None
    ) -> tuple[str, tuple[int, ...]]:
        """The tensor and padding of a convolution that takes over the zeros that ``before`` pads ``tensor`` with."""
        if before is not None and isinstance(before.op, ops.Pad):
            joined = tuple(a + b for a, b in zip(padding, before.op.padding, strict=True))
            if max(joined) <= LARGEST_WINDOW:
                return self.remove(tensor), joined
        return tensor, padding

    def join_positions(self, tensors: Sequence[str], axis: int, site: Location) -> str:
        """Tensors side by side on an axis of positions, ``axis`` of (C, ...).

        What lies one after another in memory is joined as vectors. Where the axis is not the slowest one of positions,
        it is made that before, and put back after.
        """
        shapes = [self.shapes[tensor] for tensor in tensors]
        shape = list(shapes[0])
        shape[axis] = sum(part[axis] for part in shapes)
        rank = len(shape)
        order = (0, axis, *(place for place in range(1, rank) if place != axis))
        parts = []
        for tensor, size in zip(tensors, shapes, strict=True):
            if axis != 1:
                tensor = self.rearrange(
                    tensor, Layout.in_order(size, range(rank)).transposed(order), site.under(".turned")
                )
            vector = (math.prod(size),)
            parts.append(
                self.append(FloatReshape(vector, channels_last=True), (tensor,), vector, site.under(".vector"))
            )
        vector = (math.prod(shape),)
        joined = self.append(Unquantized(ops.Concat), parts, vector, site)
        turned = tuple(shape[place] for place in order)
        result = self.append(FloatReshape(turned, channels_last=True), (joined,), turned, site.under(".joined"))
        if axis == 1:
            return result
        back = Layout.in_order(turned, range(rank)).transposed([order.index(place) for place in range(rank)])
        return self.rearrange(result, back, site.under(".back"))

    def add(self, a: str, b: str, site: Location) -> str:
        """The sum of two tensors of one shape.

        Raises:
            UnsupportedOp: the shapes differ.
        """
        if self.shapes[a] != self.shapes[b]:
            raise site.unsupported(f"of shapes {self.shapes[a]} and {self.shapes[b]}; oaq adds equal shapes")
        return self.append(Unquantized(ops.Add), (a, b), self.shapes[a], site)

    def subtract(self, a: str, b: str, before: FloatNode | None, site: Location) -> str:
        """The difference of two tensors of one shape: ``a`` plus ``b`` negated, in the layer ``before`` if that is one.

        Raises:
            UnsupportedOp: the shapes differ.
        """
        if self.shapes[a] != self.shapes[b]:
            raise site.unsupported(f"of shapes {self.shapes[a]} and {self.shapes[b]}; oaq subtracts equal shapes")
        channels = self.shapes[b][0]
        negative = b
        if a == b or before is None or not self._scale_layer(before, -np.ones(channels), np.zeros(channels), site):
            negative = self.append(FloatFunction("negate"), (b,), self.shapes[b], site.under(".negated"))
        return self.add(a, negative, site)

    def extreme(self, a: str, b: str, site: Location, *, least: bool) -> str:
        """The larger of two tensors of one shape, or the smaller: ``a`` and what ``b`` is above it, or below.

        Raises:
            UnsupportedOp: the shapes differ.
        """
        if a == b:
            return a
        difference = self.subtract(b, a, None, site.under(".difference"))
        beyond = self.clamp(difference, (None, 0.0) if least else (0.0, None), self.nodes[difference], site)
        return self.add(a, beyond, site)

    def multiply(self, a: str, b: str, site: Location) -> str:
        """The product of two tensors of one shape, or of one and a number per channel or per place, in any order.

        Raises:
            UnsupportedOp: other shapes than (C, ...) and (C, 1, ...) or (1, ...).
        """
        for first, second in ((a, b), (b, a)):
            shape, other_shape = self.shapes[first], self.shapes[second]
            if other_shape in (shape, (shape[0], *(1,) * (len(shape) - 1))):
                return self.append(Unquantized(ops.Mul), (first, second), shape, site)
            if other_shape == (1, *shape[1:]) and len(shape) > 1:
                return self.multiply(first, self._spread(second, shape[0], site.under(".channels")), site)
        shapes = f"{self.shapes[a]} and {self.shapes[b]}"
        raise site.unsupported(
            f"of shapes {shapes}; oaq multiplies equal shapes, by channel or by place: (C, 1) or (1, N)"
        )

    def _spread(self, x: str, channels: int, site: Location) -> str:
        """``x``, of one channel, ``channels`` times side by side; every node doubles what it reads."""
        if channels == 1:
            return x
        half = self._spread(x, channels // 2, site.under(".half"))
        parts = (half, half, *((x,) if channels % 2 else ()))
        return self.append(Unquantized(ops.Concat), parts, (channels, *self.shapes[x][1:]), site)

    def gate(self, x: str, before: FloatNode | None, site: Location) -> str | None:
        """``x`` times what ``before``, which may be taken out, makes of ``x``; None if that is not a known function."""
        name = GATES.get(before.op) if before is not None and isinstance(before.op, FloatFunction) else None
        if before is None or name is None or before.inputs != (x,) or before.clamp is not None:
            return None
        self.remove(before.output)
        return self.append(FloatFunction(name), (x,), self.shapes[x], site)  # type: ignore[arg-type]

    def graph(self, outputs: tuple[str, ...], metadata: Mapping[str, str]) -> FloatGraph:
        """The finished graph, without nodes that are not read."""
        needed = set(outputs)
        for node in reversed(list(self.nodes.values())):
            if node.output in needed:
                needed.update(node.inputs)
        nodes = without_single_parameters(node for node in self.nodes.values() if node.output in needed)
        shapes = {name: shape for name, shape in self.shapes.items() if name in needed or name in self.inputs}
        norms = {name: moments for name, moments in self.norms.items() if name in shapes}
        return with_moves(FloatGraph(self.name, tuple(self.inputs), outputs, shapes, nodes, dict(metadata), norms))


def with_moves(graph: FloatGraph) -> FloatGraph:
    """``graph``, in which images that something else than linear layers sees flattened are moved, not reshaped."""
    nodes = tuple(
        replace(node, op=_flattening(graph.shapes[node.inputs[0]])) if permutes(graph, node) else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _flattening(shape: Shape) -> ops.Transpose:
    """(C, ...) to a vector in the order of (C, ...)."""
    count = math.prod(shape)
    return ops.Transpose.joining((count // shape[0], shape[0]), (1, 0), (count,))


def reshaped(layout: Layout, shape: Shape) -> Layout:
    """``layout.reshaped``, of memory in the file's own order, which takes any shape."""
    result = layout.reshaped(shape)
    assert result is not None
    return result


def _before(op: FloatOp, numbers: Floats, shape: Shape) -> Floats:
    """Numbers of the channels of an operator's result, as those of what it reads, of ``shape``."""
    repeats = shape[0] // len(numbers)
    return (
        np.repeat(numbers, repeats)
        if isinstance(op, ops.DepthToSpace) and op.mode == "CRD"
        else np.tile(numbers, repeats)
    )


def checked_shape(shape: Shape, site: Location, most: int = LARGEST_RANK) -> Shape:
    """(C,), (C, L), (C, H, W) or (C, D, H, W), ``most`` axes, none of them 0.

    Raises:
        UnsupportedOp: anything else.
    """
    if not 1 <= len(shape) <= most or min(shape) < 1:
        raise site.unsupported(
            f"a sample of shape {shape}; oaq knows vectors (C,), lines (C, L), tokens (T, C), images (C, H, W) and "
            "volumes (C, D, H, W)"
        )
    return shape


def _check_finite(op: FloatOp, site: Location) -> None:
    parameters = op.parameters if isinstance(op, FloatFunction) else ()
    if isinstance(op, FloatChannelFunction):
        parameters = tuple(number for numbers in (*op.parameters, op.reads, op.writes) for number in numbers)
    clamps = isinstance(op, FloatFunction) and op.name == "clamp"  # which may be open on one side
    if any(math.isnan(parameter) or (math.isinf(parameter) and not clamps) for parameter in parameters):
        raise ProgramError(f"{site.shown}: its parameters {parameters} are not finite")
    if isinstance(op, FloatProducts):
        bad = sum(int((~np.isfinite(part)).sum()) for part in (op.weight, op.bias))
        if bad:
            raise ProgramError(
                f"{site.shown}: {bad} of its {op.weight.size + op.bias.size} weights and biases become NaN or infinite "
                "in float32; look at its parameters"
            )
