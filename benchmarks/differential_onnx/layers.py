"""Layers that sum products, in every form that files have them in."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.differential_onnx.net import KINDS, MICROSOFT, ROOM, WIDE, Impossible, Net, Shape, Stored, Tensor

Floats = NDArray[np.float32]


def weights(net: Net, shape: Shape, axis: int) -> tuple[str, float, Floats]:
    """Float weights as a layer reads them, about how far one goes, and their scales, none in float graphs.

    Args:
        net: that grows.
        shape: of the weights.
        axis: along which the outputs lie.
    """
    reach = 10.0 ** net.rng.uniform(-2, 0)
    if net.form == "float":
        return net.constant(net.rng.uniform(-reach, reach, shape)), reach, np.zeros(0, np.float32)
    kinds = ["int8"] * 8 + ["uint8"] * 2 + ["int4", "uint4"] * (net.opset >= 21)
    kind = net.pick(kinds)
    _, least, most = KINDS[kind]
    per_channel = net.opset >= 13 and net.chance(0.5)
    count = (shape[axis],) if per_channel else ()
    scale = np.float32(reach / most) * net.rng.uniform(0.5, 1.0, count).astype(np.float32)
    middle = 0 if least < 0 else (most + 1) // 2
    values = net.rng.integers(least, most + 1, shape)
    zero = np.full(count, middle)
    s, more = net.constant(scale), {"axis": net.pick([axis, axis - len(shape)])} if per_channel else {}
    z = "" if kind == "int8" and middle == 0 and net.chance(0.3) else net.integers(zero, kind)
    if kind in WIDE and net.chance(0.15):
        wide = [1] * len(shape)
        wide[axis] = -1
        reals = (values - middle) * (scale.reshape(wide) if per_channel else scale)
        q = net.node("QuantizeLinear", net.constant(reals), s, z or net.integers(zero, kind), **more)
    elif len(shape) == 2 and net.chance(0.15):  # stored the other way round
        q = net.integers(values.T, kind)
        more = {"axis": net.pick([1 - axis, -1 - axis])} if more else {}
        turn = {"perm": [1, 0]} if net.chance(0.5) else {}
        return net.node("Transpose", net.node("DequantizeLinear", q, s, z, **more), **turn), reach, scale
    else:
        q = net.integers(values, kind)
    return net.node("DequantizeLinear", q, s, z, **more), reach, scale


def bias(net: Net, x: Tensor, shape: Shape, reach: float, scale: Floats) -> str:
    """A bias of that shape, or none: real, or dequantized int32.

    Args:
        net: that grows.
        x: what the layer reads.
        shape: of the bias.
        reach: how far it goes.
        scale: of the weights.
    """
    forms = ["none", "real", "real"]
    if net.form == "quantized" and len(shape) == 1:
        forms += ["int32"]
        forms += ["steps", "steps"] * (x.stored is not None and shape[0] > 1 and scale.size in (1, shape[0]))
    form = net.pick(forms)
    if form == "none":
        return ""
    values = net.rng.uniform(-reach, reach, shape).astype(np.float32)
    if form == "real":
        return net.constant(values)
    unit = np.float32(reach / 5000)
    if form == "steps" and x.stored is not None:
        unit = np.float32(x.stored.step) * scale
    steps = np.clip(np.rint(values / unit), -(2**30), 2**30).astype(np.int32)
    more = {"axis": 0} if np.ndim(unit) else {}
    zero = [net.constant(np.zeros(np.shape(unit)), np.int32)] if net.chance(0.3) else []
    return net.node("DequantizeLinear", net.constant(steps, np.int32), net.constant(unit), *zero, **more)


def result(net: Net, x: Tensor, name: str, shape: Shape, terms: float) -> Tensor:
    """A tensor of sums of ``terms`` = (how many products) ** 0.5 * (how far each goes)."""
    reach = x.reach * terms / ROOM
    return Tensor(name, shape, -reach, reach)


def window(net: Net, size: Shape, kernel: Shape, *, dilated: bool = True) -> tuple[dict[str, Any], Shape]:
    """Attributes of a window over an image of ``size``, and how many windows there are.

    Raises:
        Impossible: no window fits.
    """
    rank = len(size)
    stride = tuple(net.between(1, 2) for _ in size)
    dilation = tuple(net.between(1, 2) for _ in size) if dilated and net.chance(0.3) else (1,) * rank
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    attributes: dict[str, Any] = {"strides": list(stride)} if max(stride) > 1 or net.chance(0.5) else {}
    if max(dilation) > 1:
        attributes["dilations"] = list(dilation)
    rule = net.pick(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if rule.startswith("SAME") and max(dilation) == 1:  # ONNX Runtime has no dilated ones
        attributes["auto_pad"] = rule
        return attributes, tuple(-(-s // st) for s, st in zip(size, stride, strict=True))
    if rule == "VALID":
        attributes["auto_pad"], pads = rule, [0] * (2 * rank)
    else:
        pads = [net.between(0, max(min(r // 2, 2), 0)) for r in (*reach, *reach)]
        if any(pads) or net.chance(0.3):
            attributes["pads"] = pads
    room = [s + pads[i] + pads[i + rank] - r for i, (s, r) in enumerate(zip(size, reach, strict=True))]
    if min(room) < 0:
        raise Impossible
    return attributes, tuple(r // st + 1 for r, st in zip(room, stride, strict=True))


def _kernel(net: Net, size: Shape) -> Shape:
    return tuple(net.between(1, min(3, s)) for s in size)


def _groups(net: Net, channels: int) -> tuple[int, int]:
    """(groups, outputs)."""
    groups = net.pick([1, 1, 1, *(g for g in (2, 3, channels) if channels % g == 0)])
    return groups, groups * net.between(1, max(8 // groups, 1))


def _conv_shape(net: Net, x: Tensor) -> tuple[Shape, dict[str, Any], Shape]:
    """Shape of weights, attributes, shape of the result."""
    if len(x.shape) not in (3, 4, 5):
        raise Impossible
    groups, outputs = _groups(net, x.shape[1])
    kernel = _kernel(net, x.shape[2:])
    attributes, count = window(net, x.shape[2:], kernel)
    if groups > 1 or net.chance(0.2):
        attributes["group"] = groups
    if net.chance(0.5):
        attributes["kernel_shape"] = list(kernel)
    return (outputs, x.shape[1] // groups, *kernel), attributes, (x.shape[0], outputs, *count)


def conv(net: Net, x: Tensor) -> Tensor:
    """Conv."""
    shape, attributes, out = _conv_shape(net, x)
    w, reach, scale = weights(net, shape, 0)
    terms = prod(shape[1:]) ** 0.5 * reach
    b = bias(net, x, shape[:1], x.reach * terms / ROOM, scale)
    return result(net, x, net.node("Conv", x.name, w, b, **attributes), out, terms)


def conv_transpose(net: Net, x: Tensor) -> Tensor:
    """ConvTranspose of any strides, cut at either end, in groups."""
    if len(x.shape) not in (3, 4, 5):
        raise Impossible
    groups, inside, rank = _groups(net, x.shape[1])[0], net.between(1, 4), len(x.shape) - 2
    kernel, stride = tuple(net.between(1, 4) for _ in range(rank)), tuple(net.between(1, 3) for _ in range(rank))
    dilation = tuple(net.between(1, 2) if net.chance(0.2) else 1 for _ in range(rank))
    more = tuple(net.between(0, s - 1) if net.chance(0.3) else 0 for s in stride)
    pads = [net.between(0, k // 2) for k in (*kernel, *kernel)]
    numbers = zip(x.shape[2:], kernel, stride, dilation, more, strict=True)
    full = [(size - 1) * s + (k - 1) * d + 1 + extra for size, k, s, d, extra in numbers]
    count = tuple(whole - pads[axis] - pads[axis + rank] for axis, whole in enumerate(full))
    if min(count) < 1:
        raise Impossible
    attributes: dict[str, Any] = {"strides": list(stride)} if max(stride) > 1 or net.chance(0.5) else {}
    attributes |= {"pads": pads} if any(pads) else {}
    attributes |= {"dilations": list(dilation)} if max(dilation) > 1 else {}
    attributes |= {"output_padding": list(more)} if any(more) else {}
    attributes |= {"group": groups} if groups > 1 or net.chance(0.2) else {}
    attributes |= {"kernel_shape": list(kernel)} if net.chance(0.5) else {}
    w, reach, scale = weights(net, (x.shape[1], inside, *kernel), 1)
    terms = (prod(kernel) * x.shape[1] / groups / prod(stride) + 1) ** 0.5 * reach
    spread = np.tile(scale, groups) if scale.size > 1 else scale
    b = bias(net, x, (inside * groups,), x.reach * terms / ROOM, spread)
    name = net.node("ConvTranspose", x.name, w, b, **attributes)
    return result(net, x, name, (x.shape[0], inside * groups, *count), terms)


def gemm(net: Net, x: Tensor) -> Tensor:
    """Gemm, with any alpha, beta, and shape of C."""
    if len(x.shape) != 2:
        raise Impossible
    batch, inner = x.shape
    outputs, flip = net.pick([batch, net.between(1, 9)]), net.between(0, 1)
    w, reach, scale = weights(net, (outputs, inner) if flip else (inner, outputs), 0 if flip else 1)
    attributes: dict[str, Any] = {"transB": flip} if flip or net.chance(0.3) else {}
    alpha = float(net.pick([1.0, 1.0, 0.5, 2.0, 1.25]))
    if alpha != 1.0:
        attributes["alpha"] = alpha
    if net.chance(0.2):
        attributes["beta"] = float(net.pick([0.0, 0.5, -1.0, 2.0]))
    terms = inner**0.5 * reach * alpha
    shapes: list[Shape] = [(outputs,), (outputs,), (outputs,), (1,), (), (1, outputs), (batch, 1), (1, 1)]
    c = bias(net, x, net.pick(shapes), x.reach * terms / ROOM, scale)
    if not c and net.opset < 11:
        c = net.constant(np.zeros(outputs))
    return result(net, x, net.node("Gemm", x.name, w, c, **attributes), (batch, outputs), terms)


def matmul(net: Net, x: Tensor) -> Tensor:
    """MatMul by a constant matrix."""
    outputs = net.between(1, 9)
    w, reach, _ = weights(net, (x.shape[-1], outputs), 1)
    terms = x.shape[-1] ** 0.5 * reach
    return result(net, x, net.node("MatMul", x.name, w), (*x.shape[:-1], outputs), terms)


def _side(net: Net, x: Tensor) -> tuple[Stored, str]:
    """The 8-bit integers of ``x`` and their zero point as an input that is not left out."""
    if x.stored is None or x.stored.kind not in WIDE:
        raise Impossible
    return x.stored, x.stored.zero_point or net.integers(np.array(0), x.stored.kind)


def _integer_weights(
    net: Net, shape: Shape, axis: int, kind: str, *, one_scale: bool = False
) -> tuple[list[str], float]:
    """Weights, scale and zero point side by side; uint8 ones only for uint8 inputs, as ONNX Runtime has it."""
    reach = 10.0 ** net.rng.uniform(-2, 0)
    if kind == "uint8" and net.chance(0.3):
        _, least, most = KINDS["uint8"]
        values, zero, name = net.rng.integers(least, most + 1, shape), np.array(net.between(100, 150)), "uint8"
        return [net.integers(values, name), net.constant(reach / 127), net.integers(zero, name)], reach
    count = (shape[axis],) if net.chance(0.5) and not one_scale else ()
    scale = np.float32(reach / 127) * net.rng.uniform(0.5, 1.0, count).astype(np.float32)
    values = net.rng.integers(-128, 128, shape)
    return [net.integers(values, "int8"), net.constant(scale), net.integers(np.zeros(count, np.int64), "int8")], reach


def quantized_result(net: Net, y: Tensor, kind: str, op: str, inputs: list[str], **more: Any) -> Tensor:  # noqa: ANN401
    """A node that writes integers: its scale and zero point are put where ``inputs`` has "s" and "z"."""
    if net.form == "float":
        raise Impossible
    scale, zero = net.map_of(y, kind)
    s, z = net.constant(np.float32(scale)), net.integers(np.array(zero), kind)
    q = net.node(op, *[{"s": s, "z": z}.get(name, name) for name in inputs], **more)
    _, least, most = KINDS[kind]
    lo, hi = max(scale * (least - zero), y.lo), min(scale * (most - zero), y.hi)
    return replace(y, name=net.node("DequantizeLinear", q, s, z), lo=lo, hi=hi, stored=Stored(q, s, z, kind, scale))


def qlinear_conv(net: Net, x: Tensor) -> Tensor:
    """QLinearConv."""
    shape, attributes, out = _conv_shape(net, x)
    side, z = _side(net, x)
    w, reach = _integer_weights(net, shape, 0, side.kind)
    y = result(net, x, "", out, prod(shape[1:]) ** 0.5 * reach)
    steps = net.rng.integers(-3000, 3000, shape[0])
    last = [net.constant(steps, np.int32)] if net.chance(0.5) else []
    return quantized_result(
        net, y, side.kind, "QLinearConv", [side.name, side.scale, z, *w, "s", "z", *last], **attributes
    )


def qlinear_matmul(net: Net, x: Tensor) -> Tensor:
    """QLinearMatMul."""
    side, z = _side(net, x)
    outputs = net.between(1, 9)
    w, reach = _integer_weights(net, (x.shape[-1], outputs), 1, side.kind)
    y = result(net, x, "", (*x.shape[:-1], outputs), x.shape[-1] ** 0.5 * reach)
    return quantized_result(net, y, side.kind, "QLinearMatMul", [side.name, side.scale, z, *w, "s", "z"])


def qgemm(net: Net, x: Tensor) -> Tensor:
    """com.microsoft's QGemm, its result quantized or real."""
    if len(x.shape) != 2:
        raise Impossible
    side, z = _side(net, x)
    outputs, flip = net.between(1, 9), net.between(0, 1)
    w, reach = _integer_weights(net, (outputs, x.shape[1]) if flip else (x.shape[1], outputs), 1 - flip, side.kind)
    alpha = float(net.pick([1.0, 0.5]))
    y = result(net, x, "", (x.shape[0], outputs), x.shape[1] ** 0.5 * reach * alpha)
    steps = net.rng.integers(-3000, 3000, net.pick([(outputs,), (1, outputs)]))
    inputs = [side.name, side.scale, z, *w, net.constant(steps, np.int32) if net.chance(0.6) else ""]
    more = {"transB": flip, "alpha": alpha, "domain": MICROSOFT}
    if net.chance(0.3):
        return replace(y, name=net.node("QGemm", *inputs, **more))
    return quantized_result(net, y, side.kind, "QGemm", [*inputs, "s", "z"], **more)


def integer_product(net: Net, x: Tensor) -> Tensor:
    """MatMulInteger or ConvInteger, Cast, Mul, and an Add or none."""
    side, z = _side(net, x)
    convolves = len(x.shape) == 4 and net.chance(0.6) and side.kind == "uint8"
    if convolves:
        shape, attributes, out = _conv_shape(net, x)
        if shape[0] == 1 or attributes.get("dilations"):
            raise Impossible
    else:
        outputs = net.between(1, 9)
        shape, attributes, out = (x.shape[-1], outputs), {}, (*x.shape[:-1], outputs)
    one_scale = net.chance(0.5) or convolves  # ONNX Runtime's ConvInteger has one zero point
    (w, s, zero), reach = _integer_weights(net, shape, 0 if convolves else 1, side.kind, one_scale=one_scale)
    sums = net.node("ConvInteger" if convolves else "MatMulInteger", side.name, w, z, zero, **attributes)
    factor = net.node("Mul", side.scale, s)
    reals = net.node("Cast", sums, to=1)
    if convolves:
        factor = net.numbers("Reshape", factor, "shape", [1, -1, 1, 1], 1)
    name = net.node("Mul", *net.pick([(reals, factor), (factor, reals)]))
    terms = prod(shape[1:] if convolves else shape[:1]) ** 0.5 * reach
    if net.chance(0.4):
        shift_shape = (out[1], 1, 1) if convolves else (out[-1],)
        name = net.node("Add", name, net.constant(net.rng.uniform(-1, 1, shift_shape) * x.reach * terms / ROOM))
    return result(net, x, name, out, terms)


LAYERS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QGemm": qgemm,
    "MatMulInteger": integer_product,
}
