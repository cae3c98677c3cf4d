"""The fields of each kind of step in a plan's bytes: one table, which writer, tests and documents share.

Native code reads the same fields in the same order: ``native/steps/steps.inc`` names the function of each code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import NoKernel
from oaq.kernels.plan import NodePlan
from oaq.numerics.modular import Modular
from oaq.numerics.requantize import Requantize
from oaq.operators.gather import place_of
from oaq.operators.tensor import LARGEST_RANK

Kind = Literal["i32", "int8", "int32", "uint8", "multipliers"]
"""Numbers in the record itself, an array of a type, or the multipliers of ``Requantize`` (the table of ``Modular``)."""
Value = int | tuple[int, ...] | NDArray[Any] | Requantize | Modular


@dataclass(frozen=True)
class Field:
    """One field of a record.

    Attributes:
        name: for people and tests; it is not in the bytes.
        kind: how it is written.
        count: numbers, where ``kind`` is "i32".
    """

    name: str
    kind: Kind = "i32"
    count: int = 1


@dataclass(frozen=True)
class StepKind:
    """What a kernel family's steps hold.

    Attributes:
        code: of the family in the bytes; never changed, never used again.
        fields: in the order of the bytes.
        values: one per field, of a planned node.
    """

    code: int
    fields: tuple[Field, ...]
    values: Callable[[NodePlan], tuple[Value, ...]]


WINDOW: Final = (
    Field("kernel", count=2),
    Field("stride", count=2),
    Field("padding", count=4),
    Field("dilation", count=2),
)
CLAMP: Final = Field("clamp", count=2)
OUTPUT: Final = (Field("requant", "multipliers"), Field("y_zero_point"), CLAMP)
PAIR: Final = (Field("zero_points", count=2), *OUTPUT)
PACKED: Final = "packed"
"""Weights in the order of execution: the one array that several steps may have together."""
SUMS: Final = (
    *WINDOW,
    Field("groups"),
    Field("x_zero_point"),
    Field(PACKED, "int8"),
    Field("segments", "int32"),
    Field("bias", "int32"),
    *OUTPUT,
)
PLANES: Final = (Field("planes", count=7),)
"""Over a volume: window, stride, padding before and after, dilation along planes; planes of input and output."""
RESIZES: Final = ("nearest", "bilinear", "bilinear_corners", "bilinear_asymmetric")
"""Modes of a Resize by their numbers."""
POINT: Final = ops.Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
"""The window of an operator without one."""


def _op(planned: NodePlan) -> Any:  # noqa: ANN401
    return planned.node.op


def _output(planned: NodePlan, requantize: Requantize | Modular) -> tuple[Value, ...]:
    return requantize, planned.y_zero_point, _clamp(planned)


def _clamp(planned: NodePlan) -> tuple[int, int]:
    return planned.clamp.lo, planned.clamp.hi


def _window(window: ops.Window) -> tuple[tuple[int, ...], ...]:
    """Kernel, stride, padding and dilation over two axes: of a volume the last ones."""
    image = window.of_planes() if window.rank > 2 else window.over_image()
    return image.kernel, image.stride, image.padding, image.dilation


def _sums(planned: NodePlan) -> tuple[Value, ...]:
    op, schedule, bias = _op(planned), planned.schedule, planned.folded_bias
    if not isinstance(op, ops.Products) or schedule is None or bias is None:
        raise NoKernel(f"{planned.node.name}: the plan has no schedule for it")
    window = _window(POINT if op.window is None else op.window)
    arrays = (schedule.packed, schedule.segments, bias)
    return (*window, op.channel_groups, planned.x_zero_points[0], *arrays, *_output(planned, op.requantize))


def _over_planes(values: Callable[[NodePlan], tuple[Value, ...]]) -> Callable[[NodePlan], tuple[Value, ...]]:
    """How planes lie, then the fields that an image has."""

    def with_planes(planned: NodePlan) -> tuple[Value, ...]:
        op, (x, *_, y) = _op(planned), planned.shapes
        window = getattr(op, "window", None)
        counts = (x[0], y[0])
        if window is not None:
            along = (window.kernel[0], window.stride[0], *window.padding[:2], window.dilation[0])
        elif isinstance(op, ops.Pad):
            along = (1, 1, *op.padding[:2], 1)
        else:
            along = (1, 1, op.begin[0], 0, 1)
        return ((*along, *counts), *values(planned))

    return with_planes


def kind_of(planned: NodePlan) -> str:
    """The key of a planned node in ``STEP_KINDS``: its family, or that over volumes."""
    op = _op(planned)
    window = getattr(op, "window", None)
    axes = window.rank if window is not None else len(op.padding) // 2 if isinstance(op, ops.Pad) else 0
    is_volume = axes > 2 or (isinstance(op, ops.Slice) and len(op.begin) > 3)
    return planned.row.family + VOLUME * is_volume


def _gather(planned: NodePlan) -> tuple[Value, ...]:
    op, x = _op(planned), planned.shapes[0]
    place = place_of(op, len(x))
    return prod(x[:place]), x[place], op.index


def _pair(planned: NodePlan) -> tuple[Value, ...]:
    return (planned.x_zero_points, *_output(planned, _op(planned).requantize))


def _concat(planned: NodePlan) -> tuple[Value, ...]:
    return (np.array(planned.x_zero_points, np.int32), *_output(planned, _op(planned).requantize))


def _avg_pool(planned: NodePlan) -> tuple[Value, ...]:
    op = _op(planned)
    x_zero, requantize, y_zero, clamp = planned.x_zero_points[0], *_output(planned, op.requantize)
    if op.origin is not None:
        x_zero = y_zero = op.origin
    return (*_window(op.window), int(op.count_include_pad), x_zero, requantize, y_zero, clamp)


def _slice(planned: NodePlan) -> tuple[Value, ...]:
    op = _op(planned)
    return _front(0, op.begin[-3:], 3), _front(1, op.end[-3:], 3)


def _coarsen(planned: NodePlan) -> tuple[Value, ...]:
    op = _op(planned)
    return op.bits, op.factors, op.limits, op.rectified, planned.x_zero_points[0], _clamp(planned)


def _eight(op: ops.Transpose) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stretches and order with stretches of 1 before them."""
    missing = LARGEST_RANK - len(op.split)
    order = (*range(missing), *(missing + place for place in op.order))
    return _front(1, op.split, LARGEST_RANK), order


def _front(filler: int, numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    """``numbers`` with those of missing leading axes before them."""
    return (filler,) * (count - len(numbers)) + numbers


VOLUME: Final = "_volume"
"""What the name of a kind has behind its family's where it reads how planes lie first."""
_PAD: Final = (
    (Field("padding", count=4), Field("zero_point")),
    lambda planned: (_front(0, _op(planned).padding[-4:], 4), planned.x_zero_points[0]),
)
_MAX_POOL: Final = (
    (*WINDOW, CLAMP),
    lambda planned: (*_window(_op(planned).window), _clamp(planned)),
)
_AVG_POOL: Final = ((*WINDOW, Field("count_include_pad"), Field("x_zero_point"), *OUTPUT), _avg_pool)
_COARSEN: Final = (
    *(Field("bits", "uint8"), Field("factors", "int32"), Field("limits", "uint8"), Field("rectified", "uint8")),
    *(Field("x_zero_point"), CLAMP),
)
_SLICE: Final = ((Field("begin", count=3), Field("end", count=3)), _slice)

STEP_KINDS: Final[Mapping[str, StepKind]] = MappingProxyType(
    {
        "gemm_volume": StepKind(18, (*PLANES, *SUMS), _over_planes(_sums)),
        "max_pool_volume": StepKind(19, (*PLANES, *_MAX_POOL[0]), _over_planes(_MAX_POOL[1])),
        "avg_pool_volume": StepKind(20, (*PLANES, *_AVG_POOL[0]), _over_planes(_AVG_POOL[1])),
        "pad_volume": StepKind(21, (*PLANES, *_PAD[0]), _over_planes(_PAD[1])),
        "slice_volume": StepKind(22, (*PLANES, *_SLICE[0]), _over_planes(_SLICE[1])),
        "gather": StepKind(17, (Field("outer"), Field("size"), Field("index", "int32")), _gather),
        "coarsen": StepKind(23, _COARSEN, _coarsen),
        "gemm": StepKind(1, SUMS, _sums),
        "depthwise": StepKind(2, SUMS, _sums),
        "add": StepKind(3, PAIR, _pair),
        "mul": StepKind(4, PAIR, _pair),
        "concat": StepKind(5, (Field("zero_points", "int32"), *OUTPUT), _concat),
        "lookup": StepKind(6, (Field("table", "uint8"),), lambda planned: (_op(planned).table,)),
        "max_pool": StepKind(7, *_MAX_POOL),
        "avg_pool": StepKind(8, *_AVG_POOL),
        "global_avg_pool": StepKind(
            9,
            (Field("x_zero_point"), *OUTPUT),
            lambda planned: (planned.x_zero_points[0], *_output(planned, _op(planned).requantize)),
        ),
        "copy": StepKind(10, (), lambda _: ()),
        "pad": StepKind(11, *_PAD),
        "slice": StepKind(12, *_SLICE),
        "resize": StepKind(13, (Field("mode"),), lambda planned: (RESIZES.index(_op(planned).mode),)),
        "channel_lookup": StepKind(16, (Field("tables", "uint8"),), lambda planned: (_op(planned).tables.reshape(-1),)),
        "transpose": StepKind(
            15, (Field("split", count=8), Field("order", count=8)), lambda planned: _eight(_op(planned))
        ),
        "depth_to_space": StepKind(
            14,
            (Field("block"), Field("channels_first")),
            lambda planned: (_op(planned).block, int(_op(planned).mode == "CRD")),
        ),
    }
)
"""Kinds of steps, keyed by kernel family, or that and ``VOLUME``."""
