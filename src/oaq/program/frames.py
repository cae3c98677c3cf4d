"""Programs that slide over images, for images of another size: ``at_size``, and what of a pane is what the frame has.

A *frame* is an image of any size, a *pane* the part of it that one run takes. A program of windows, interleavings and
functions of single values computes the same integers at a place of the frame and at that place of a pane, as long as
nothing that the place depends on lies outside the pane: padding is the zero point at the pane's edge as it is at the
frame's, and elsewhere it would stand where the frame has pixels. ``Span`` counts which places those are, exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import lcm
from typing import Final

from oaq import operators as ops
from oaq.data.preprocess import KEY, Preprocess
from oaq.errors import ProgramError
from oaq.operators import Op, Shape, TensorSpec, output_shape
from oaq.program.edges import INPUTS, OUTPUTS, input_edges, output_edges
from oaq.program.int_program import IntProgram, Node

Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True)
class Span:
    """Which places of a pane's tensor, along one axis, hold what the frame's tensor holds there.

    Attributes:
        scale: places of the tensor for each place of the input: place i of a pane that begins at place p of the frame
            is place i + p * scale of the frame's tensor.
        first, last: places ``first`` to ``last`` - 1 of the pane are the frame's; none if ``last`` is not above.
        size: places of the pane's tensor.
    """

    scale: Fraction
    first: int
    last: int
    size: int


@dataclass(frozen=True)
class PaneEnds:
    """Whether a pane begins and ends with the frame, along one axis."""

    begins: bool
    ends: bool


@dataclass(frozen=True)
class Pane:
    """A part of a frame along one axis.

    Attributes:
        begin: its first place in the frame's input.
        kept: by output (at, first, last): places ``first`` to ``last`` - 1 of the pane's output are those of the
            frame's from ``at + first`` on.
    """

    begin: int
    kept: Mapping[str, tuple[int, int, int]]


def at_size(program: IntProgram, rows: int, columns: int) -> IntProgram:
    """The program for images of ``rows`` x ``columns``: the same integers, windows and multipliers.

    Args:
        program: of one input (rows, columns, channels), of operators that mean the same at every place.
        rows: of the new input.
        columns: of the new input.

    Returns:
        the program itself if it has that size already.

    Raises:
        ProgramError: an operator depends on the size (a mean over the image, a layer of the whole image, a change of
            shape), or no window fits.
    """
    spec = _image_input(program)
    if spec.shape[:2] == (rows, columns):
        return program
    tensors = {spec.name: replace(spec, shape=(rows, columns, spec.channels))}
    nodes = []
    for node in program.nodes:
        before = [program.tensors[name].shape for name in node.inputs]
        after = [tensors[name].shape for name in node.inputs]
        op = _sized(node, before, after)
        y = program.tensors[node.output]
        tensors[y.name] = replace(y, shape=output_shape(op, after))
        nodes.append(replace(node, op=op))
    return replace(program, tensors=tensors, nodes=tuple(nodes), metadata=_metadata(program, tensors, (rows, columns)))


def spans(program: IntProgram, axis: int, ends: PaneEnds) -> dict[str, Span]:
    """The span of every tensor of a pane along ``axis`` (0 rows, 1 columns).

    Args:
        program: of the pane's size.
        axis: along which.
        ends: where the pane lies in the frame.

    Raises:
        ProgramError: as ``at_size``.
    """
    x = _image_input(program)
    located = {x.name: Span(Fraction(1), 0, x.shape[axis], x.shape[axis])}
    for node in program.nodes:
        shapes = [program.tensors[name].shape for name in node.inputs]
        _sized(node, shapes, shapes)  # refuses what depends on the size
        if isinstance(node.op, ops.Coarsen):
            raise ProgramError(
                f"{node.name}: Coarsen looks at the whole image, so panes would give other integers: take the frame as "
                "a whole (program.frames.at_size), or quantize with mode static"
            )
        size = program.tensors[node.output].shape[axis]
        span = _joined(node, [located[name] for name in node.inputs])
        rule = _RULES.get(type(node.op), _as_it_is)
        scale, first, last = rule(node.op, axis, span, shapes[0])
        located[node.output] = Span(scale, 0 if ends.begins else first, size if ends.ends else min(last, size), size)
    return located


def stride_of(program: IntProgram) -> Size:
    """The least rows and columns by which panes must lie apart, so that every tensor moves by whole places."""
    both = (spans(program, axis, PaneEnds(begins=True, ends=True)).values() for axis in (0, 1))
    rows, columns = (lcm(*(span.scale.denominator for span in axis)) for axis in both)
    return rows, columns


def panes_of(program: IntProgram, axis: int, frame: int) -> list[Pane]:
    """Panes along ``axis`` that together hold the frame.

    Args:
        program: of the pane's size, at most the frame's.
        axis: 0 for rows, 1 for columns.
        frame: rows or columns of the frame.

    Returns:
        as they follow each other; every place of each output is kept of one of them.

    Raises:
        ProgramError: the pane is too small for what its outputs depend on, or the frame is no whole number of strides
            longer.
    """
    size, stride = _image_input(program).shape[axis], stride_of(program)[axis]
    kind = ("rows", "columns")[axis]
    if frame < size or (frame - size) % stride:
        raise ProgramError(
            f"{program.name}: panes of {size} {kind} do not fill a frame of {frame}: it must be longer by a multiple "
            f"of {stride}, or as long"
        )
    inner = spans(program, axis, PaneEnds(begins=False, ends=True))
    begin, covered, panes = 0, dict.fromkeys(program.outputs, 0), list[Pane]()
    while True:
        own = spans(program, axis, PaneEnds(begins=begin == 0, ends=begin + size == frame))
        offsets = {name: int(begin * own[name].scale) for name in program.outputs}
        panes.append(Pane(begin, {name: (at, covered[name] - at, own[name].last) for name, at in offsets.items()}))
        if begin + size == frame:
            return panes
        covered = {name: at + own[name].last for name, at in offsets.items()}
        room = min((covered[name] - inner[name].first) / inner[name].scale for name in program.outputs)
        following = min(int(room // stride) * stride, frame - size)
        if following <= begin:
            raise ProgramError(
                f"{program.name}: panes of {size} {kind} are too small, for its outputs depend on more around them: "
                f"take {size + stride - int(room - begin)} at least"
            )
        begin = following


def evenly(program: IntProgram, axis: int, frame: int) -> int:
    """The least rows or columns with which as many panes as ``program``'s size needs hold the frame.

    Panes of just so many overlap less, and the last one does not begin far before its time.

    Raises:
        ProgramError: as ``panes_of``.
    """
    sizes, stride = list(_image_input(program).shape[:2]), stride_of(program)[axis]
    count, size = len(panes_of(program, axis, frame)), sizes[axis]
    low, high = 0, size // stride  # fewer strides than ``low`` + 1 are too few, ``high`` are enough
    while high - low > 1:
        middle = (low + high) // 2
        sizes[axis] = size - (size // stride - middle) * stride
        try:
            enough = len(panes_of(at_size(program, *sizes), axis, frame)) <= count
        except ProgramError:  # smaller than what its outputs depend on
            enough = False
        low, high = (low, middle) if enough else (middle, high)
    return size - (size // stride - high) * stride


def _image_input(program: IntProgram) -> TensorSpec:
    specs = [program.tensors[name] for name in program.inputs]
    if len(specs) != 1 or len(specs[0].shape) != 3:
        shapes = ", ".join(str(spec.shape) for spec in specs)
        raise ProgramError(f"{program.name}: a frame is one input (rows, columns, channels), not {shapes}")
    return specs[0]


def _sized(node: Node, before: Sequence[Shape], after: Sequence[Shape]) -> Op:
    """The node's operator for inputs of other sizes."""
    op, x = node.op, before[0]
    bound = f"{node.name}: {type(op).__name__} is of images of one size"
    if any(len(shape) != 3 for shape in before):
        raise ProgramError(f"{bound}: it reads {', '.join(map(str, before))}")
    match op:
        case ops.Slice():
            ends = (*(end + new - old for end, old, new in zip(op.end, x, after[0], strict=True)),)
            return op if x == after[0] else replace(op, end=ends)
        case ops.Resize():
            if op.mode == "bilinear_corners" or op.height % x[0] or op.width % x[1]:
                raise ProgramError(f"{bound}: {op.mode} from {x[:2]} to {op.height} x {op.width}")
            size = op.height // x[0] * after[0][0], op.width // x[1] * after[0][1]
            return op if x == after[0] else replace(op, height=size[0], width=size[1])
        case ops.Reshape() if op.shape == x:
            return ops.Reshape(after[0])
        case ops.Gather(axis=0) | ops.Coarsen():
            return op
        case _ if type(op) in _RULES:
            return op
        case _:
            raise ProgramError(f"{bound}, {x}")


Place = tuple[Fraction, int, int]
"""Scale, first and last place."""


def _as_it_is(_op: Op, _axis: int, x: Span, _shape: Shape) -> Place:
    return x.scale, x.first, x.last


def _windows(op: ops.Conv2d | ops.MaxPool | ops.AvgPool, axis: int, x: Span, _shape: Shape) -> Place:
    """Windows that read no place before ``first`` and none from ``last`` on."""
    window = op.window
    before, reach, stride = window.padding[2 * axis], window.reach[axis], window.stride[axis]
    return x.scale / stride, -(-(x.first + before) // stride), (x.last + before - reach) // stride + 1


def _interleaved(op: ops.DepthToSpace, _axis: int, x: Span, _shape: Shape) -> Place:
    return x.scale * op.block, x.first * op.block, x.last * op.block


def _resized(op: ops.Resize, axis: int, x: Span, shape: Shape) -> Place:
    """Bilinear reads the place before and the one after."""
    factor, beside = (op.height, op.width)[axis] // shape[axis], int(op.mode != "nearest")
    return x.scale * factor, (x.first + beside) * factor, (x.last - beside) * factor


def _cut(op: ops.Slice, axis: int, x: Span, _shape: Shape) -> Place:
    return x.scale, max(x.first - op.begin[axis], 0), x.last - op.begin[axis]


def _padded(op: ops.Pad, axis: int, x: Span, _shape: Shape) -> Place:
    return x.scale, x.first + op.padding[2 * axis], x.last + op.padding[2 * axis]


_RULES: Final[Mapping[type[Op], Callable[..., Place]]] = {
    ops.Conv2d: _windows,
    ops.MaxPool: _windows,
    ops.AvgPool: _windows,
    ops.DepthToSpace: _interleaved,
    ops.Resize: _resized,
    ops.Slice: _cut,
    ops.Pad: _padded,
    ops.Linear: _as_it_is,
    ops.Add: _as_it_is,
    ops.Mul: _as_it_is,
    ops.Concat: _as_it_is,
    ops.Lookup: _as_it_is,
    ops.ChannelLookup: _as_it_is,
}
"""Operators that mean the same at every place of an image. Others are refused, whatever joins the list of operators."""


def _joined(node: Node, inputs: Sequence[Span]) -> Span:
    """Places that all inputs have from the frame."""
    if len({(span.scale, span.size) for span in inputs}) > 1:
        raise ProgramError(f"{node.name}: its inputs lie differently on the image: {[str(span) for span in inputs]}")
    return replace(inputs[0], first=max(span.first for span in inputs), last=min(span.last for span in inputs))


def _metadata(program: IntProgram, tensors: Mapping[str, TensorSpec], size: Size) -> dict[str, str]:
    metadata = dict(program.metadata)
    for key, edges in ((INPUTS, input_edges(program)), (OUTPUTS, output_edges(program))):
        if key not in metadata:
            continue
        for edge in edges:
            if edge.sizes != program.tensors[edge.tensor].shape:
                raise ProgramError(
                    f"{program.name}: its file cuts {edge.name!r} into {edge.sizes}, which is of one size"
                )
        metadata[key] = json.dumps([asdict(replace(edge, sizes=tensors[edge.tensor].shape)) for edge in edges])
    preprocess = Preprocess.from_metadata(metadata)
    if preprocess is not None:
        resize = None if preprocess.resize is None else max(preprocess.resize, *size)
        metadata[KEY] = replace(preprocess, size=size, resize=resize).to_json()
    return metadata
