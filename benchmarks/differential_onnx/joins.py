"""Operators that join tensors, meet constants, or average."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.differential_onnx.layers import quantized_result, window
from benchmarks.differential_onnx.net import MICROSOFT, Impossible, Net, Shape, Tensor


def _partner(net: Net, x: Tensor) -> Tensor:
    """A tensor of the same shape."""
    return net.pick([x, *(partner for partner in net.earlier if partner.shape == x.shape)])


def _gate(net: Net, x: Tensor) -> Tensor:
    """One number per channel, computed from ``x``."""
    if len(x.shape) != 4:
        raise Impossible
    mean = net.node("GlobalAveragePool", x.name)
    gate = replace(x, name=mean, shape=(*x.shape[:2], 1, 1), stored=None)
    return net.quantized(gate)


def add(net: Net, x: Tensor) -> Tensor:
    """Two activations."""
    a, b = net.pick([(x, _partner(net, x)), (_partner(net, x), x)])
    return Tensor(net.node("Add", a.name, b.name), x.shape, a.lo + b.lo, a.hi + b.hi)


def mul(net: Net, x: Tensor) -> Tensor:
    """Two activations; one may be a gate."""
    partner = _gate(net, x) if len(x.shape) == 4 and net.chance(0.5) else _partner(net, x)
    a, b = net.pick([(x, partner), (partner, x)])
    reach = a.reach * b.reach
    return Tensor(net.node("Mul", a.name, b.name), x.shape, -reach, reach)


def extreme(op: str) -> Any:  # noqa: ANN401 (a maker)
    """Max or Min of two or three tensors of one shape."""

    def make(net: Net, x: Tensor) -> Tensor:
        parts = [x, *(_partner(net, x) for _ in range(net.between(1, 2)))]
        net.rng.shuffle(parts)  # type: ignore[arg-type]
        name = net.node(op, *(part.name for part in parts))
        return Tensor(name, x.shape, min(part.lo for part in parts), max(part.hi for part in parts))

    return make


def _constant_shape(net: Net, x: Tensor) -> Shape:
    """A shape that broadcasts over ``x`` and leaves its shape alone."""
    ones = (1,) * len(x.shape)
    per_axis = [tuple(size if axis == at else 1 for axis, size in enumerate(x.shape)) for at in range(1, len(x.shape))]
    shape = net.pick([(), (), (), (1,), ones, *per_axis, x.shape])
    while len(shape) > 1 and shape[0] == 1 and net.chance(0.5):
        shape = shape[1:]
    return shape


def arithmetic(op: str) -> Any:  # noqa: ANN401 (a maker)
    """Add, Sub, Mul, Div, Min, Max or Pow with a constant."""

    def make(net: Net, x: Tensor) -> Tensor:
        shape = () if op == "Pow" else _constant_shape(net, x)
        reach = x.reach if op in ("Add", "Sub", "Min", "Max") else 1.5
        values = net.rng.uniform(0.3, 1.5, shape) * reach
        if op in ("Add", "Sub", "Min", "Max") or (op == "Mul" and net.chance(0.2)):
            values = values * net.rng.choice([-1, 1], shape)
        if op == "Pow":
            values = np.asarray(net.pick([2.0, 3.0, 1.0]))
        first = op in ("Add", "Mul", "Min", "Max", "Sub") and net.chance(0.4)
        c = net.constant(values)
        name = net.node(op, *((c, x.name) if first else (x.name, c)))
        most = {"Add": x.reach + reach * 1.5, "Sub": x.reach + reach * 1.5, "Mul": x.reach * 2.3, "Div": x.reach * 3.4}
        bound = most.get(op, x.reach ** float(values) if op == "Pow" else x.reach * 1.5)
        return Tensor(name, x.shape, -bound, bound)

    return make


def concat(net: Net, x: Tensor) -> Tensor:
    """Two or three side by side, on any axis but the batch."""
    parts = [x, *(_partner(net, x) for _ in range(net.between(0, 2)))]
    net.rng.shuffle(parts)  # type: ignore[arg-type]
    rank = len(x.shape)
    axis = 1 if rank == 4 and net.chance(0.7) else net.between(1, rank - 1)
    shape = tuple(sum(p.shape[at] for p in parts) if at == axis else size for at, size in enumerate(x.shape))
    name = net.node("Concat", *(p.name for p in parts), axis=net.pick([axis, axis - rank]))
    return Tensor(name, shape, min(p.lo for p in parts), max(p.hi for p in parts))


def average_pool(net: Net, x: Tensor) -> Tensor:
    """AveragePool."""
    return Tensor(*_pooled(net, x, "AveragePool"), x.lo, x.hi)


def max_pool(net: Net, x: Tensor) -> Tensor:
    """MaxPool."""
    return Tensor(*_pooled(net, x, "MaxPool"), x.lo, x.hi)


def _pooled(net: Net, x: Tensor, op: str) -> tuple[str, Shape]:
    if len(x.shape) not in (3, 4, 5):
        raise Impossible
    kernel = tuple(net.between(1, min(3, size)) for size in x.shape[2:])
    dilated = net.opset >= 10 if op == "MaxPool" else net.opset >= 19
    attributes, count = window(net, x.shape[2:], kernel, dilated=dilated)
    steps = attributes.get("strides", [1] * len(kernel))
    if "SAME" in attributes.get("auto_pad", "") and any(k < s for k, s in zip(kernel, steps, strict=True)):
        raise Impossible  # ONNX Runtime would pad by a negative number
    if net.chance(0.3) and net.opset >= 10:
        attributes["ceil_mode"] = 1
        if "SAME" not in attributes.get("auto_pad", ""):
            count = _ceiled(x.shape[2:], kernel, attributes)
    if op == "AveragePool" and net.chance(0.4):
        attributes["count_include_pad"] = net.between(0, 1)
    return net.node(op, x.name, kernel_shape=list(kernel), **attributes), (*x.shape[:2], *count)


def _ceiled(size: Shape, kernel: Shape, attributes: dict[str, Any]) -> Shape:
    """How many windows there are if the last, incomplete one counts, unless it begins in the padding behind."""
    rank = len(size)
    pads, strides = attributes.get("pads", [0] * 2 * rank), attributes.get("strides", [1] * rank)
    dilations, counts = attributes.get("dilations", [1] * rank), []
    for i in range(rank):
        room = size[i] + pads[i] + pads[i + rank] - (kernel[i] - 1) * dilations[i] - 1
        count = -(-room // strides[i]) + 1
        counts.append(count - ((count - 1) * strides[i] >= size[i] + pads[i]))
    return tuple(counts)


def global_average(net: Net, x: Tensor) -> Tensor:
    """GlobalAveragePool, or ReduceMean over positions in any of its forms."""
    rank = len(x.shape)
    if rank not in (3, 4, 5):
        raise Impossible
    ones = (*x.shape[:2], *(1,) * (rank - 2))
    if net.chance(0.5):
        return Tensor(net.node("GlobalAveragePool", x.name), ones, x.lo, x.hi)
    axes = list(range(2, rank)) if net.chance(0.8) else [net.between(1, rank - 1)]
    shown = [net.pick([axis, axis - rank]) for axis in axes]
    keep = net.between(0, 1)
    shape = tuple(1 if at in axes else size for at, size in enumerate(x.shape) if keep or at not in axes)
    more = {"keepdims": keep} if not keep or net.chance(0.5) else {}
    return Tensor(net.numbers("ReduceMean", x.name, "axes", shown, 18, **more), shape, x.lo, x.hi)


def global_max(net: Net, x: Tensor) -> Tensor:
    """GlobalMaxPool."""
    if len(x.shape) not in (3, 4, 5):
        raise Impossible
    return Tensor(net.node("GlobalMaxPool", x.name), (*x.shape[:2], *(1,) * (len(x.shape) - 2)), x.lo, x.hi)


def batch_norm(net: Net, x: Tensor) -> Tensor:
    """BatchNormalization in evaluation."""
    if len(x.shape) < 2:
        raise Impossible
    channels = x.shape[1]
    gamma, beta, mean, variance = (
        net.rng.uniform(lo, hi, channels) for lo, hi in ((0.3, 2), (-1, 1), (-1, 1), (0.2, 2))
    )
    if net.chance(0.1):
        gamma = -gamma
    numbers = [net.constant(values) for values in (gamma, beta * x.reach, mean * x.reach, variance)]
    more = {"epsilon": float(10.0 ** net.rng.uniform(-6, -1))} if net.chance(0.5) else {}
    more |= {"momentum": 0.5} if net.chance(0.2) else {}
    return Tensor(net.node("BatchNormalization", x.name, *numbers, **more), x.shape, -4 * x.reach, 4 * x.reach)


def qlinear_binary(op: str) -> Any:  # noqa: ANN401 (a maker)
    """com.microsoft's QLinearAdd and QLinearMul."""

    def make(net: Net, x: Tensor) -> Tensor:
        partner = _partner(net, x)
        if (
            x.stored is None
            or partner.stored is None
            or {x.stored.kind, partner.stored.kind} not in ({"int8"}, {"uint8"})
        ):
            raise Impossible
        if x.stored.kind == "int8" and not (x.stored.zero_point and partner.stored.zero_point):
            raise Impossible  # a zero point left out is one of uint8 there
        bound = x.reach + partner.reach if op == "QLinearAdd" else x.reach * partner.reach
        sides = [part for side in (x.stored, partner.stored) for part in (side.name, side.scale, side.zero_point)]
        y = Tensor("", x.shape, -bound, bound)
        return quantized_result(net, y, x.stored.kind, op, [*sides, "s", "z"], domain=MICROSOFT)

    return make


def qlinear_concat(net: Net, x: Tensor) -> Tensor:
    """com.microsoft's QLinearConcat."""
    partner = _partner(net, x)
    if x.stored is None or partner.stored is None or {x.stored.kind, partner.stored.kind} not in ({"int8"}, {"uint8"}):
        raise Impossible
    if not x.stored.zero_point or not partner.stored.zero_point:
        raise Impossible
    parts = [part for side in (x.stored, partner.stored) for part in (side.name, side.scale, side.zero_point)]
    shape = (x.shape[0], 2 * x.shape[1], *x.shape[2:])
    y = Tensor("", shape, min(x.lo, partner.lo), max(x.hi, partner.hi))
    axis = net.pick([1, 1 - len(x.shape)])
    return quantized_result(net, y, x.stored.kind, "QLinearConcat", ["s", "z", *parts], axis=axis, domain=MICROSOFT)


def qlinear_pool(net: Net, x: Tensor) -> Tensor:
    """com.microsoft's QLinearAveragePool and QLinearGlobalAveragePool; ONNX Runtime has no QLinearReduceMean."""
    if len(x.shape) != 4 or x.stored is None or x.stored.kind not in ("int8", "uint8") or not x.stored.zero_point:
        raise Impossible
    inputs = [x.stored.name, x.stored.scale, x.stored.zero_point, "s", "z"]
    op = net.pick(["QLinearAveragePool", "QLinearGlobalAveragePool"])
    shape, more = (*x.shape[:2], 1, 1), {}
    if op == "QLinearAveragePool":
        kernel = tuple(net.between(1, min(3, size)) for size in x.shape[2:])
        more, count = window(net, x.shape[2:], kernel, dilated=False)
        more |= {"kernel_shape": list(kernel), "count_include_pad": net.between(0, 1)}
        shape = (*x.shape[:2], *count)
    return quantized_result(net, Tensor("", shape, x.lo, x.hi), x.stored.kind, op, inputs, domain=MICROSOFT, **more)


def qlinear_function(net: Net, x: Tensor) -> Tensor:
    """com.microsoft's QLinearSigmoid and QLinearLeakyRelu."""
    if x.stored is None or x.stored.kind not in ("int8", "uint8") or not x.stored.zero_point:
        raise Impossible
    inputs = [x.stored.name, x.stored.scale, x.stored.zero_point, "s", "z"]
    op = net.pick(["QLinearSigmoid", "QLinearLeakyRelu"])
    more = {"alpha": float(net.pick([0.2, 0.05]))} if op == "QLinearLeakyRelu" else {}
    y = Tensor("", x.shape, 0.0, 1.0) if op == "QLinearSigmoid" else Tensor("", x.shape, x.lo * 0.2, x.hi)
    return quantized_result(net, y, x.stored.kind, op, inputs, domain=MICROSOFT, **more)


JOINS = {
    "Add": add,
    "Mul": mul,
    **{op: extreme(op) for op in ("Max", "Min")},
    "Concat": concat,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "BatchNormalization": batch_norm,
    **{f"{op} constant": arithmetic(op) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Pow")},
    **{op: qlinear_binary(op) for op in ("QLinearAdd", "QLinearMul")},
    "QLinearConcat": qlinear_concat,
    "QLinearPool": qlinear_pool,
    "QLinearFunction": qlinear_function,
}
