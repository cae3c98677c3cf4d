"""Rules for functions of one value: 256 reals beside 256 integers, until they are quantized.

Arithmetic is float32, as runtimes do it; functions that float32 libraries approximate are computed in float64 and
rounded once, so a runtime's own approximation may differ from ours by one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import erf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx.attributes import real, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.sums import Sums
from oaq.capture.from_onnx.values import Extreme, Integers, Pending, Reals, Stays, Value, View, curve_of, extended
from oaq.capture.from_onnx.walk import Walk, clamped
from oaq.capture.from_onnx.weights import real_constant, stored
from oaq.numerics.ranges import IntRange

Curve = NDArray[np.float32]
Wide = NDArray[np.float64]


def function(walk: Walk, node: OnnxNode) -> None:
    """A named function."""
    reals = walk.reals(node.input_name(0))
    values = curve_of(walk.draft, reals).astype(np.float64)
    with np.errstate(all="ignore"):
        images = FUNCTIONS[node.op](values, node)
    _bend(walk, node, reals, images.astype(np.float32))


def parametric_relu(walk: Walk, node: OnnxNode) -> None:
    """PRelu by one slope, or by one for each place of one axis."""
    reals = walk.reals(node.input_name(0))
    slopes = real_constant(walk.graph, node.input_name(1))
    if slopes is None or slopes.dtype.kind != "f":
        raise Stays("its slopes are no constant")
    values = curve_of(walk.draft, reals)
    if slopes.size == 1:
        _bend(walk, node, reals, np.where(values > 0, values, np.float32(slopes.reshape(())) * values))
        return
    rank = len(reals.view.shape)
    shape = (1,) * (rank + 1 - slopes.ndim) + slopes.shape
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    if len(wide) != 1 or len(shape) != rank + 1 or reals.view.shape[wide[0] - 1] != slopes.size or not wide[0]:
        raise Stays(f"its slopes are of shape {slopes.shape}; one, or one for each place of an axis, is known")
    if reals.axis not in (None, wide[0] - 1):
        raise Stays("functions of two axes")
    by_place = np.where(values > 0, values, slopes.reshape(-1, 1).astype(np.float32) * values)
    _bend(walk, node, replace(reals, curve=np.broadcast_to(values, by_place.shape), axis=wide[0] - 1), by_place)


def clip(walk: Walk, node: OnnxNode) -> None:
    """Relu and Clip: of sums not quantized yet, of reals, of integers themselves."""
    value = walk.values.get(node.input_name(0))
    if isinstance(value, Integers):
        _clip_integers(walk, node, value)
        return
    lo, hi = _bounds(walk, node)
    if isinstance(value, Pending):
        _clamp_sums(walk, node, value, (lo, hi))
        return
    if isinstance(value, Extreme):  # to clamp keeps order
        operands = tuple(_bent(walk, node, reals, _clipped(walk, reals, lo, hi)) for reals in value.operands)
        walk.values[node.outputs[0]] = replace(value, operands=operands)
        return
    reals = walk.reals(node.input_name(0))
    _bend(walk, node, reals, _clipped(walk, reals, lo, hi))


def _clipped(walk: Walk, reals: Reals, lo: float, hi: float) -> Curve:
    return np.minimum(np.maximum(curve_of(walk.draft, reals), np.float32(lo)), np.float32(hi))


def _clamp_sums(walk: Walk, node: OnnxNode, pending: Pending, ends: tuple[float, float]) -> None:
    if any(move.op == "Pad" for move in pending.moves) and not ends[0] <= 0.0 <= ends[1]:
        raise Stays("it clips padding that is quantized already")
    walk.values[node.outputs[0]] = clamped(pending, *ends, node)


def arithmetic(walk: Walk, node: OnnxNode) -> None:
    """Sub and Div, and Add and Mul where one side is a constant or both are functions of the same integers.

    Raises:
        Stays: it is nothing of the kind.
    """
    if len(node.inputs) != 2:
        raise Stays("it does not have two operands")
    left, right = (walk.values.get(node.input_name(index)) for index in (0, 1))
    constants = [real_constant(walk.graph, node.input_name(index)) for index in (0, 1)]
    if node.op in ("Min", "Max") and any(isinstance(side, Pending) for side in (left, right)):
        _bounded_sums(walk, node, (left, right), constants)
        return
    if isinstance(left, Pending) and constants[1] is not None:
        _on_sums(walk, node, left, constants[1], node.input_name(1))
        return
    if isinstance(right, Pending) and constants[0] is not None and node.op in ("Add", "Mul"):
        _on_sums(walk, node, right, constants[0], node.input_name(0))
        return
    sides, sources = [], []
    for value, constant in zip((left, right), constants, strict=True):
        if isinstance(value, Reals):
            sides.append(curve_of(walk.draft, value))
            sources.append(value)
        elif constant is not None and constant.size == 1 and constant.dtype.kind == "f":
            sides.append(np.float32(constant.reshape(-1)[0]))
        elif constant is not None and constant.size > 1:
            raise Stays(
                f"it meets constants of shape {constant.shape} after integers were rounded; no integer operator does: "
                "quantize after it, so that it is the bias or the scale of the layer before"
            )
        else:
            raise Stays("its operands are neither functions of one tensor nor single constants")
    if not sources or any(source.view != sources[0].view for source in sources):
        raise Stays("its operands are functions of different tensors")
    if any(constant is not None and constant.ndim > len(sources[0].view.shape) + 1 for constant in constants):
        raise Stays("its constant has more axes than what it meets")
    with np.errstate(all="ignore"):
        images = np.asarray(ARITHMETIC[node.op](*sides), np.float32)
    longest = max(sources, key=lambda source: len(source.nodes))
    nodes = tuple({id(member): member for source in sources for member in source.nodes}.values())
    _bend(walk, node, replace(longest, nodes=nodes), images)


def is_curve_work(walk: Walk, node: OnnxNode) -> bool:
    """Whether ``arithmetic`` is the rule for an Add or Mul: one side is constant, or a side is a curve already."""
    values = [walk.values.get(node.input_name(index)) for index in (0, 1)]
    bent = any(isinstance(value, Reals) and value.curve is not None for value in values)
    return bent or any(real_constant(walk.graph, node.input_name(index)) is not None for index in (0, 1))


def _bend(walk: Walk, node: OnnxNode, reals: Reals, curve: Curve) -> None:
    walk.values[node.outputs[0]] = _bent(walk, node, reals, curve)
    walk.transparent[node.name] = None


def _bent(walk: Walk, node: OnnxNode, reals: Reals, curve: Curve) -> Reals:
    if curve.shape != curve_of(walk.draft, reals).shape:
        raise Stays("it has more than one value per integer")
    source = walk.draft.tensors[reals.view.tensor].range
    if not np.all(np.isfinite(curve[..., source.lo : source.hi + 1])):
        raise Stays("it is not finite everywhere")
    return Reals(reals.view, np.nan_to_num(curve), extended(reals.nodes, node), reals.axis)


def _bounded_sums(
    walk: Walk,
    node: OnnxNode,
    sides: tuple[Value | None, Value | None],
    constants: list[NDArray[np.generic] | None],
) -> None:
    """Min or Max of a result that is not quantized yet and one number: a clamp."""
    pending, constant = (sides[0], constants[1]) if isinstance(sides[0], Pending) else (sides[1], constants[0])
    assert isinstance(pending, Pending)
    if constant is None or constant.size != 1 or constant.ndim > len(pending.layout.shape) + 1:
        raise Stays("its bound is computed while it runs" if constant is None else "it has more than one bound")
    end = float(np.float32(constant.reshape(-1)[0]))
    if constant.dtype.kind != "f" or math.isnan(end):
        raise Stays("its bound is not a float")
    _clamp_sums(walk, node, pending, (end, math.inf) if node.op == "Max" else (-math.inf, end))


def _on_sums(walk: Walk, node: OnnxNode, pending: Pending, constant: NDArray[np.generic], name: str) -> None:
    """A bias or a factor per output that comes after the sum."""
    sums = _open_sums(pending)
    if constant.dtype.kind != "f":
        raise Stays("its constant is not a float")
    flat = _per_output(sums, pending, constant)
    place = stored(walk.graph, name, walk.readers) if name in walk.graph.constants else None
    match node.op:
        case "Add":
            changed = sums.shifted(flat, place, node)
        case "Sub":
            changed = sums.shifted(-flat, None, node)
        case "Mul":
            changed = sums.scaled(flat, node)
        case "Div":
            with np.errstate(all="ignore"):
                changed = sums.scaled(np.float32(1) / flat.astype(np.float32), node)
        case _:
            raise Stays(f"of sums that are not quantized yet, {node.op} is none of Add, Sub, Mul and Div")
    walk.values[node.outputs[0]] = replace(
        pending, make=changed.operator, nodes=extended(pending.nodes, node), sums=changed
    )


def batch_norm(walk: Walk, node: OnnxNode) -> None:
    """BatchNormalization of sums not quantized yet: a factor and a bias per output."""
    pending = walk.values.get(node.input_name(0))
    sums = _open_sums(pending)
    if any(node.outputs[1:]):
        raise Stays("it is in training: its further results are read")
    if sums.axis != 1:
        raise Stays(f"it runs along axis 1, the outputs of the layer before along axis {sums.axis}")
    arrays = [walk.constant(node.input_name(index), "statistics").reshape(-1) for index in range(1, 5)]
    if any(array.size != len(sums.unit) or array.dtype.kind != "f" for array in arrays):
        raise Stays("its statistics are not one float per output")
    gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + real(node, "epsilon", 1e-5))
        changed = sums.scaled(factor, node).shifted(beta - mean * factor, None, node)
    assert isinstance(pending, Pending)
    walk.values[node.outputs[0]] = replace(
        pending, make=changed.operator, nodes=extended(pending.nodes, node), sums=changed
    )


def _open_sums(pending: Value | None) -> Sums:
    """The sums of a layer that nothing has clamped or moved yet."""
    sums = pending.sums if isinstance(pending, Pending) else None
    if not isinstance(pending, Pending) or not isinstance(sums, Sums):
        raise Stays("its input is not a sum of products")
    if pending.clamp != (-math.inf, math.inf) or pending.moves:
        raise Stays("its input is clamped or moved already")
    return sums


def _per_output(sums: Sums, pending: Pending, constant: NDArray[np.generic]) -> NDArray[np.floating]:
    """One number per output, if the constant runs along the outputs and nothing else."""
    rank = len(pending.layout.shape) + 1
    padded = (1,) * (rank - constant.ndim) + constant.shape
    if len(padded) != rank or any(size != 1 for place, size in enumerate(padded) if place != sums.axis):
        raise Stays("its constant does not run along the outputs")
    return (
        constant.reshape(-1).astype(np.float64)
        if constant.dtype == np.float64
        else constant.reshape(-1).astype(np.float32)
    )


def _bounds(walk: Walk, node: OnnxNode) -> tuple[float, float]:
    if node.op == "Relu":
        return 0.0, math.inf
    ends = []
    for index, attribute, free in ((1, "min", -math.inf), (2, "max", math.inf)):
        if node.input_name(index):
            constant = real_constant(walk.graph, node.input_name(index))
            if constant is None or constant.size != 1 or constant.dtype.kind != "f":
                raise Stays("its bounds are computed while it runs")
            ends.append(float(np.float32(constant.reshape(-1)[0])))
        else:
            ends.append(real(node, attribute, free))
    if any(math.isnan(end) for end in ends):
        raise Stays("its bounds are NaN")
    return ends[0], ends[1]


def _clip_integers(walk: Walk, node: OnnxNode, value: Integers) -> None:
    """Integers clamped after quantizing: a narrower effective range of the node that writes them."""
    if value.index:
        raise Stays("it clips an index")
    lo, hi = 0, 255
    if node.op == "Relu":
        lo = value.offset
    for index, is_lo in ((1, True), (2, False)):
        if node.input_name(index):
            end = walk.constant(node.input_name(index), "bounds")
            if end.size != 1 or end.dtype.kind not in "iu":
                raise Stays("its bounds are not one integer each")
            number = min(max(int(end.reshape(-1)[0]) + value.offset, 0), 255)
            lo, hi = (number, hi) if is_lo else (lo, number)
    name = node.outputs[0]
    reach = IntRange(min(lo, hi), hi)
    walk.values[name] = replace(value, view=_narrowed(walk, node, value.view, reach))
    tensor = walk.draft.tensors[walk.values[name].view.tensor]  # type: ignore[union-attr]
    tensor.file, tensor.layout, tensor.offset, tensor.is_integer = name, value.view.layout, value.offset, True
    walk.absorb([node])


def _narrowed(walk: Walk, node: OnnxNode, view: View, reach: IntRange) -> View:
    tensor = walk.draft.tensors[view.tensor]
    writer = walk.draft.writer(view.tensor)
    views = ((name, getattr(value, "view", None)) for name, value in walk.values.items())
    names = [name for name, other in views if other is not None and other.tensor == view.tensor]
    only = (
        walk.readers.get(node.input_name(0), 0) == 1
        and node.input_name(0) not in walk.graph.outputs
        and names == [node.input_name(0)]  # under another name it may have readers to come
        and not tensor.readers
    )
    zero = tensor.affine.zero_point
    new = IntRange(max(reach.lo, tensor.range.lo), max(min(reach.hi, tensor.range.hi), max(reach.lo, tensor.range.lo)))
    clampable = writer is None or not (ops.rules_of(writer.op).same_affine or isinstance(writer.op, ops.Lookup))
    pooled = writer is not None and isinstance(writer.op, ops.MaxPool)
    if pooled and writer is not None:
        clampable = new.contains(walk.draft.tensors[writer.inputs[0]].range)
    if only and clampable and zero in new and not view.reshaped:
        tensor.range = new
        return view
    if reach.contains(tensor.range):
        return view
    table = np.clip(np.arange(256), reach.lo, reach.hi).astype(np.uint8)
    result = replace(tensor, range=IntRange(min(reach.lo, zero), max(reach.hi, zero)))
    number = walk.draft.emit(node.name, ops.Lookup(table), [view.tensor], result)
    return View(number, view.layout, view.reshaped)


def _sigmoid(x: Wide) -> Wide:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gelu(x: Wide, node: OnnxNode) -> Wide:
    if text(node, "approximate", "none") == "tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


_erf = np.vectorize(erf, otypes=[np.float64])


def _elu(x: Wide, node: OnnxNode) -> Wide:
    return np.where(x > 0, x, real(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0.0)))


def _hard_sigmoid(x: Wide, alpha: float, beta: float) -> Wide:
    return np.clip(alpha * x + beta, 0.0, 1.0)


FUNCTIONS: Final[Mapping[str, Callable[[Wide, OnnxNode], Wide]]] = {
    "Sigmoid": lambda x, node: _sigmoid(x),
    "Tanh": lambda x, node: np.tanh(x),
    "HardSigmoid": lambda x, node: _hard_sigmoid(x, real(node, "alpha", 0.2), real(node, "beta", 0.5)),
    "HardSwish": lambda x, node: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "Swish": lambda x, node: x * _sigmoid(real(node, "alpha", 1.0) * x),
    "QuickGelu": lambda x, node: x * _sigmoid(real(node, "alpha", 1.702) * x),
    "LeakyRelu": lambda x, node: np.where(x >= 0, x, np.float32(real(node, "alpha", 0.01)) * x),
    "Elu": _elu,
    "Gelu": _gelu,
    "Erf": lambda x, node: _erf(x),
    "Softplus": lambda x, node: np.logaddexp(x, 0.0),
    "Softsign": lambda x, node: x / (1.0 + np.abs(x)),
    "Mish": lambda x, node: x * np.tanh(np.logaddexp(x, 0.0)),
    "Exp": lambda x, node: np.exp(x),
    "Log": lambda x, node: np.log(x),
    "Sqrt": lambda x, node: np.sqrt(x),
    "Reciprocal": lambda x, node: 1.0 / x,
    "Abs": lambda x, node: np.abs(x),
    "Neg": lambda x, node: -x,
    "Floor": lambda x, node: np.floor(x),
    "Ceil": lambda x, node: np.ceil(x),
    "Round": lambda x, node: np.rint(x),
}
"""Functions by operator, in float64."""
ARITHMETIC: Final[Mapping[str, Callable[..., Curve]]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Min": np.minimum,
    "Max": np.maximum,
}
"""Arithmetic by operator, in float32."""
RULES: Final[Mapping[str, Callable[[Walk, OnnxNode], None]]] = {
    **dict.fromkeys(FUNCTIONS, function),
    **dict.fromkeys(("Relu", "Clip"), clip),
    "PRelu": parametric_relu,
    "BatchNormalization": batch_norm,
    **dict.fromkeys(("Sub", "Div", "Pow"), arithmetic),
}
"""Rules by operator; Add, Mul, Min and Max are in ``joins``."""
