"""What an importer knows of each tensor of the file: integers, reals that stand for them, or work still to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx.draft import Draft, order_of, program_shape, spatial
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.layout import Layout
from oaq.capture.rearrange import movements
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange

SIGNED: int = 128
"""What is added to signed integers to make them u8."""


LONGEST_RUN: int = 64
"""Nodes that one function, or all that comes between a layer and its quantizer, is written out in; each value on the
way holds those before it, so a damaged file must not make it long."""


class Stays(Exception):
    """A node stays in float. Its text says why; it never reaches a user as an error."""


@dataclass(frozen=True)
class Meaning:
    """Scale and zero point as the file has them.

    Attributes:
        scale: float32.
        zero_point: of the file's integers.
        signed: the file's integers are int8.
        bits: of the file's integers; fewer than 8 for INT4 and its like.
    """

    scale: float
    zero_point: int
    signed: bool
    bits: int = 8

    @property
    def offset(self) -> int:
        """The program's integer minus the file's."""
        return SIGNED if self.signed else 0

    @property
    def affine(self) -> Affine:
        """As the program has it."""
        return Affine(self.scale, self.zero_point + self.offset)

    @property
    def reach(self) -> IntRange:
        """All that integers of the file's type can be, as the program has them.

        >>> Meaning(1.0, 0, True, 4).reach, Meaning(1.0, 0, False).reach
        (IntRange(lo=120, hi=135), IntRange(lo=0, hi=255))
        """
        half = 1 << (self.bits - 1)
        return IntRange(self.offset - half, self.offset + half - 1) if self.signed else IntRange(0, 2 * half - 1)


@dataclass(frozen=True)
class View:
    """A tensor of the program, seen with ONNX's axes.

    Attributes:
        tensor: its number in the draft.
        layout: in which order it lies in memory.
        reshaped: name of the node by which the file reshapes it, "" if none does; ``settled`` writes that down.
        turned: name of the Transpose by which the file puts its axes in another order, "" if none does.
    """

    tensor: int
    layout: Layout
    reshaped: str = ""
    turned: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, as ONNX has it."""
        return self.layout.shape


@dataclass(frozen=True)
class Integers:
    """An integer tensor of the file.

    Attributes:
        view: which one of the program it is.
        offset: the program's integer minus the file's.
        index: it has been cast to int32 or int64, to look up a table.
        by_channel: 256 for each channel before its own has been added, to look up a table of that channel.
    """

    view: View
    offset: int
    index: bool = False
    by_channel: bool = False


@dataclass(frozen=True, eq=False)
class Reals:
    """A float tensor whose every value is a function of one integer.

    Attributes:
        view: of the integers.
        curve: (256,) float32: the value for each integer; None for the plain ``affine.dequantize``.
        nodes: that made the curve.
        axis: of a sample, whose places have a curve each, which is (places, 256) then; None: there is one for all.
    """

    view: View
    curve: NDArray[np.float32] | None = None
    nodes: tuple[OnnxNode, ...] = ()
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class Gathered:
    """Rows of an image picked by a constant index; with columns picked likewise it is a Resize.

    Attributes:
        view: of the image.
        rows: the index.
        node: that picked them.
    """

    view: View
    rows: tuple[int, ...]
    node: OnnxNode


@dataclass(frozen=True, eq=False)
class Pending:
    """A float result of integer inputs, waiting to hear at which scale it is wanted.

    Attributes:
        name: of the node it comes from.
        make: the operator for a scale.
        inputs: numbers of tensors.
        layout: of the result.
        nodes: of the file that it takes the place of, in order.
        clamp: real bounds, infinite where there are none.
        moves: nodes that move the result before it is quantized: quantizing first comes to the same integers.
        sums: for Conv2d and Linear: see ``layers.Sums``.
        after: operators that only move integers, behind what is made; ``layout`` is that of their result.
    """

    name: str
    make: Callable[[float], ops.Op]
    inputs: tuple[int, ...]
    layout: Layout
    nodes: tuple[OnnxNode, ...]
    clamp: tuple[float, float] = (-math.inf, math.inf)
    moves: tuple[OnnxNode, ...] = ()
    sums: object | None = field(default=None, repr=False)
    after: tuple[ops.Op, ...] = ()


@dataclass(frozen=True, eq=False)
class Extreme:
    """The larger or the smaller of several tensors, element by element, waiting to hear at which scale it is wanted.

    Quantizing keeps order, so that the integers are the extreme of the operands' own, each quantized to that scale.

    Attributes:
        operands: that are compared, of one shape.
        node: that compares them.
        least: the smaller one.
    """

    operands: tuple[Reals, ...]
    node: OnnxNode
    least: bool


Value = Integers | Reals | Gathered | Pending | Extreme


def extended(nodes: tuple[OnnxNode, ...], node: OnnxNode) -> tuple[OnnxNode, ...]:
    """One node more.

    Raises:
        Stays: there are ``LONGEST_RUN`` already.
    """
    if len(nodes) >= LONGEST_RUN:
        raise Stays(f"more than {LONGEST_RUN} nodes come between it and a quantizer")
    return (*nodes, node)


def curve_of(draft: Draft, reals: Reals) -> NDArray[np.float32]:
    """(256,) the value for every integer, as float32 arithmetic has it; (places, 256) where ``axis`` is one."""
    if reals.curve is not None:
        return reals.curve
    return draft.tensors[reals.view.tensor].affine.dequantize(np.arange(256))


def arranged(draft: Draft, view: View, order: tuple[int, ...] | None = None, role: str = "its input") -> View:
    """The view as a tensor that has the program's shape for its axes in ``order``; a Reshape or Transpose if need be.

    Raises:
        Stays: more stretches of memory would move than a Transpose has.
    """
    shape = view.shape
    order = order_of(view.layout, draft.tensors[view.tensor].shape) if order is None else order
    if not view.layout.is_in(order):
        return _turned(draft, view, order, role)
    return _as_shape(draft, view, program_shape(shape, order))


def _turned(draft: Draft, view: View, order: tuple[int, ...], role: str) -> View:
    """The view with its axes in ``order`` in memory, moved once however many read it so."""
    layout = Layout.in_order(view.shape, order)
    key = (view.tensor, view.layout, order)
    if key in draft.moved:
        return View(draft.moved[key], layout)
    number = view.tensor
    try:
        moves = movements(draft.tensors[number].shape, view.layout, order)
    except ProgramError as error:
        raise Stays(f"it reads {role} with {view.layout.mismatch(order)}: {error}") from error
    name = view.turned or view.reshaped or f"{draft.tensors[number].file}.transposed"
    for op in moves:
        number = draft.emit(name, op, [number], draft.tensors[number])
        tensor = draft.tensors[number]
        tensor.layout, tensor.is_integer, tensor.is_of_file = layout, False, False
    draft.moved[key] = number
    return View(number, layout)


def flattened(draft: Draft, view: View) -> View:
    """The view as a vector, its elements in whatever order memory has them."""
    count = 1
    for size in view.shape:
        count *= size
    return _as_shape(draft, view, (count,))


def settled(draft: Draft, view: View) -> View:
    """With a reshape written down, if there is one; in the program's own order where memory allows it.

    In files that oaq has written, a Transpose is one of the program, so it is written down too.
    """
    if draft.is_own and view.turned and not view.layout.is_in(spatial(len(view.shape))):
        return arranged(draft, view, spatial(len(view.shape)))
    if not view.reshaped:
        return view
    if len(view.shape) == 1:
        return flattened(draft, view)
    order = order_of(view.layout, draft.tensors[view.tensor].shape)
    return arranged(draft, view, order) if view.layout.is_in(order) else view


def _as_shape(draft: Draft, view: View, shape: tuple[int, ...]) -> View:
    tensor = draft.tensors[view.tensor]
    if tensor.shape == shape and not view.reshaped:
        return view
    number = draft.emit(view.reshaped or f"{tensor.file}.reshaped", ops.Reshape(shape), [view.tensor], tensor)
    draft.tensors[number].layout = view.layout
    draft.tensors[number].is_integer = False
    return View(number, view.layout)
