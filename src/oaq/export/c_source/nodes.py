"""What each node calls, and with which numbers. ``fragments`` holds the functions, one file each, in C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import UnsupportedOp
from oaq.export.c_source.text import Constant, Constants
from oaq.numerics.modular import Modular
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.operators.avg_pool import zero_points
from oaq.operators.gather import place_of
from oaq.operators.windows import Window
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram, Node

Fields = dict[str, Any]
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "requantize": ("nearest", "fixed_point"),
    "fixed_point": ("nearest",),
    "sum_products": ("window", "requantize"),
    "sum_residues": ("window",),
    "max_pool": ("window",),
    "avg_pool": ("window", "requantize"),
    "global_avg_pool": ("requantize",),
    "add": ("fixed_point",),
    "mul": ("requantize",),
    "concat": ("requantize",),
}
"""Fragments that one uses; they come before it."""


@dataclass(frozen=True, eq=False)
class Call:
    """A call of one fragment.

    Attributes:
        function: of the fragment.
        fields: of its struct.
        inputs: tensors that are read.
        output: tensor that is written.
    """

    function: str
    fields: Fields
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, eq=False)
class Emission:
    """What rules read, and where they put arrays."""

    program: IntProgram
    proof: Proof
    constants: Constants

    def requantize(self, requantize: Requantize, zero: int, y: TensorSpec) -> Fields:
        """Fields of ``struct requantize``."""
        fields: Fields = {"zero": zero, "low": y.range.lo, "high": y.range.hi}
        if requantize.shift is None:
            return {"multiplier": self.constants.add(requantize.multiplier), **fields}
        fields["factor"] = self.constants.add(requantize.multiplier)
        fields["shift"] = self.constants.add(requantize.shift.astype(np.uint8))
        if requantize.then is not None:
            fields["then"] = self.constants.add(requantize.then.astype(np.uint8))
        return fields


def calls(emission: Emission, node: Node) -> Iterator[Call]:
    """The calls that compute ``node``.

    Raises:
        UnsupportedOp: its operator has no function in C; the message names the node.
    """
    name = ops.rules_of(node.op).name
    if name not in RULES:
        raise UnsupportedOp(f"{node.name}: C export knows no {name}; run the file by oaq.h, the library, instead")
    yield from RULES[name](emission, node, node.op)


def fragments(functions: Iterator[str]) -> list[str]:
    """Names of the fragments that ``functions`` need, in an order in which each comes after what it uses."""
    result = ["nearest"]  # what turns real values into integers and back uses it

    def require(name: str) -> None:
        for needed in NEEDS.get(name, ()):
            require(needed)
        if name not in result:
            result.append(name)

    for function in functions:
        require(function)
    return result


def _call(node: Node, function: str, fields: Fields) -> Call:
    return Call(function, fields, node.inputs, node.output)


def _three(values: tuple[int, ...], missing: int) -> tuple[int, ...]:
    return (missing,) * (3 - len(values)) + tuple(values)


def _window(window: Window, x: TensorSpec) -> Fields:
    size = x.shape[:-1]
    return {
        "size": _three(size, 1),
        "count": _three(window.counts(size), 1),
        "kernel": _three(window.kernel, 1),
        "stride": _three(window.stride, 1),
        "dilation": _three(window.dilation, 1),
        "before": _three(window.padding[::2], 0),
    }


def _products(emission: Emission, node: Node, op: ops.Products) -> Iterator[Call]:
    (x,), y = emission.program.specs(node), emission.program.tensors[node.output]
    ones = (1, 1, prod(x.shape[:-1]))
    window = _window(op.window, x) if op.window is not None else _row_by_row(ones)
    weight: Mapping[bool, str] = {True: "narrow", False: "wide"}
    fields: Fields = {
        "window": window,
        "channels": x.channels,
        "groups": op.channel_groups,
        "outputs": op.outputs,
        weight[op.weight.dtype == np.int8]: emission.constants.add(op.rows),
        "folded": emission.constants.add(emission.proof.nodes[node.name].folded_bias),
        "zero": x.affine.zero_point,
    }
    if isinstance(op.requantize, Modular):
        entries = 1 << op.requantize.bits
        fields["tables"] = emission.constants.add(op.requantize.table)
        fields["table_stride"] = entries if len(op.requantize) > 1 else 0
        fields["mask"] = entries - 1
        yield _call(node, "sum_residues", fields)
    else:
        fields["out"] = emission.requantize(op.requantize, y.affine.zero_point, y)
        yield _call(node, "sum_products", fields)


def _row_by_row(size: tuple[int, ...]) -> Fields:
    unit = (1, 1, 1)
    return {"size": size, "count": size, "kernel": unit, "stride": unit, "dilation": unit, "before": (0, 0, 0)}


def _add(emission: Emission, node: Node, op: ops.Add) -> Iterator[Call]:
    (a, b), y = emission.program.specs(node), emission.program.tensors[node.output]
    zeros = {"zero_a": a.affine.zero_point, "zero_b": b.affine.zero_point}
    out = emission.requantize(op.requantize, y.affine.zero_point, y)
    yield _call(node, "add", {"size": prod(y.shape), **zeros, "out": out})


def _mul(emission: Emission, node: Node, op: ops.Mul) -> Iterator[Call]:
    (a, b), y = emission.program.specs(node), emission.program.tensors[node.output]
    zeros = {"zero_a": a.affine.zero_point, "zero_b": b.affine.zero_point}
    out = emission.requantize(op.requantize, y.affine.zero_point, y)
    yield _call(node, "mul", {"size": prod(y.shape), "period": prod(b.shape), **zeros, "out": out})


def _concat(emission: Emission, node: Node, op: ops.Concat) -> Iterator[Call]:
    y, first = emission.program.tensors[node.output], 0
    out = emission.requantize(op.requantize, y.affine.zero_point, y)
    for index, (name, x) in enumerate(zip(node.inputs, emission.program.specs(node), strict=True)):
        fields: Fields = {"positions": prod(x.shape[:-1]), "channels": x.channels, "first": first, "total": y.channels}
        fields |= {"zero": x.affine.zero_point, "index": index, "out": out}
        yield Call("concat", fields, (name,), node.output)
        first += x.channels


def _max_pool(emission: Emission, node: Node, op: ops.MaxPool) -> Iterator[Call]:
    (x,), y = emission.program.specs(node), emission.program.tensors[node.output]
    yield _call(node, "max_pool", {"window": _window(op.window, x), "channels": x.channels, "low": y.range.lo})


def _avg_pool(emission: Emission, node: Node, op: ops.AvgPool) -> Iterator[Call]:
    (x,), y = emission.program.specs(node), emission.program.tensors[node.output]
    before, after = zero_points(op, x, y)
    fields: Fields = {"window": _window(op.window, x), "channels": x.channels, "zero": before}
    out = emission.requantize(op.requantize, after, y)
    yield _call(node, "avg_pool", {**fields, "counts_padding": op.count_include_pad, "out": out})


def _global_avg_pool(emission: Emission, node: Node, op: ops.GlobalAvgPool) -> Iterator[Call]:
    (x,), y = emission.program.specs(node), emission.program.tensors[node.output]
    fields: Fields = {"positions": prod(x.shape[:-1]), "channels": x.channels, "zero": x.affine.zero_point}
    yield _call(node, "global_avg_pool", fields | {"out": emission.requantize(op.requantize, y.affine.zero_point, y)})


def _resize(emission: Emission, node: Node, op: ops.Resize) -> Iterator[Call]:
    height, width, channels = emission.program.specs(node)[0].shape
    fields = {"height": height, "width": width, "channels": channels, "rows": op.height, "columns": op.width}
    if op.mode == "nearest":
        yield _call(node, "resize_nearest", fields)
    else:
        yield _call(node, "resize_bilinear", fields | {"places": PLACES.index(op.mode)})


PLACES: Final = ("bilinear", "bilinear_corners", "bilinear_asymmetric")
"""Bilinear modes by the numbers that their function takes."""


def _gather(emission: Emission, node: Node, op: ops.Gather) -> Iterator[Call]:
    shape = emission.program.specs(node)[0].shape
    place = place_of(op, len(shape))
    sizes = {"outer": prod(shape[:place]), "size": shape[place], "count": len(op.index)}
    fields: Fields = {**sizes, "inner": prod(shape[place + 1 :]), "index": emission.constants.add(op.index)}
    yield _call(node, "gather", fields)


def _depth_to_space(emission: Emission, node: Node, op: ops.DepthToSpace) -> Iterator[Call]:
    height, width, _ = emission.program.specs(node)[0].shape
    depth = emission.program.tensors[node.output].channels
    fields = {"height": height, "width": width, "block": op.block, "depth": depth, "outer": op.mode == "CRD"}
    yield _call(node, "depth_to_space", fields)


def _lookup(emission: Emission, node: Node, op: ops.Lookup) -> Iterator[Call]:
    table: Constant | NDArray[np.uint8] = emission.constants.add(op.table)
    yield _call(node, "lookup", {"size": prod(emission.program.tensors[node.output].shape), "table": table})


def _channel_lookup(emission: Emission, node: Node, op: ops.ChannelLookup) -> Iterator[Call]:
    tables: Constant | NDArray[np.uint8] = emission.constants.add(op.tables)
    size = prod(emission.program.tensors[node.output].shape)
    yield _call(node, "channel_lookup", {"size": size, "channels": len(op.tables), "tables": tables})


def _reshape(emission: Emission, node: Node, _op: ops.Reshape) -> Iterator[Call]:
    yield _call(node, "copy", {"size": prod(emission.program.tensors[node.output].shape)})


def _pad(emission: Emission, node: Node, op: ops.Pad) -> Iterator[Call]:
    (x,), y = emission.program.specs(node), emission.program.tensors[node.output]
    fields: Fields = {"size": _three(x.shape[:-1], 1), "before": _three(op.padding[::2], 0)}
    fields["padded"] = _three(y.shape[:-1], 1)
    yield _call(node, "pad", fields | {"channels": x.channels, "zero": x.affine.zero_point})


def _slice(emission: Emission, node: Node, op: ops.Slice) -> Iterator[Call]:
    x, y = emission.program.specs(node)[0], emission.program.tensors[node.output]
    yield _call(node, "slice", {"axes": len(x.shape), "size": x.shape, "begin": tuple(op.begin), "span": y.shape})


def _transpose(emission: Emission, node: Node, op: ops.Transpose) -> Iterator[Call]:
    steps = [prod(op.split[place + 1 :]) for place in op.order]
    sizes = [op.split[place] for place in op.order]
    yield _call(node, "transpose", {"axes": len(sizes), "size": tuple(sizes), "step": tuple(steps)})


RULES: Final[Mapping[str, Callable[[Emission, Node, Any], Iterator[Call]]]] = {
    "Conv2d": _products,
    "Linear": _products,
    "Add": _add,
    "Mul": _mul,
    "Concat": _concat,
    "MaxPool": _max_pool,
    "AvgPool": _avg_pool,
    "GlobalAvgPool": _global_avg_pool,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "Lookup": _lookup,
    "ChannelLookup": _channel_lookup,
    "Reshape": _reshape,
    "Pad": _pad,
    "Slice": _slice,
    "Transpose": _transpose,
    "Gather": _gather,
}
