"""Pools and resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx

from oaq import operators as ops
from oaq.capture.from_torch.builder import TorchBuilder, sample_shape, site, unsupported
from oaq.capture.from_torch.layers import Arguments, both_sides, extreme, per_axis
from oaq.capture.graph import (
    FloatAvgPool,
    FloatOp,
    FloatReshape,
    Unquantized,
)
from oaq.capture.picking import pick
from oaq.capture.pools import why_no_integers, why_too_large
from oaq.operators.tensor import Shape
from oaq.operators.windows import Window


def max_pool(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.max_pool1d``, ``2d``, ``3d``; where sizes are rounded up, padding behind stands for what is missing."""
    tensor = build.read(arguments["self"], node)
    shape, result = build.shapes[tensor], sample_shape(node)
    rank = len(shape) - 1
    kernel, dilation = per_axis(arguments["kernel_size"], rank), per_axis(arguments["dilation"], rank)
    stride, padding = per_axis(arguments["stride"] or kernel, rank), per_axis(arguments["padding"], rank)
    missing = [
        max((result[1 + axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
            - shape[1 + axis] - 2 * padding[axis], 0)
        for axis in range(rank)
    ]  # fmt: skip
    around = tuple(side for size, more in zip(padding, missing, strict=True) for side in (size, size + more))
    flaw = why_no_integers(Window(kernel, stride, around, dilation), shape[1:], result[1:])
    if flaw is not None:
        raise unsupported(node, flaw)
    return build.emit(ops.MaxPool(kernel, stride, around, dilation), (tensor,), result, node)


def avg_pool(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.avg_pool1d``, ``2d``, ``3d``, its size rounded down, divided by what it counts."""
    tensor = build.read(arguments["self"], node)
    rank = len(build.shapes[tensor]) - 1
    kernel = per_axis(arguments["kernel_size"], rank)
    stride, padding = per_axis(arguments["stride"] or kernel, rank), per_axis(arguments["padding"], rank)
    result = sample_shape(node)
    if arguments.get("divisor_override") is not None:
        raise unsupported(node, f"divisor_override={arguments['divisor_override']}")
    for axis in range(rank):
        size = build.shapes[tensor][1 + axis] + 2 * padding[axis]
        if (result[1 + axis] - 1) * stride[axis] + kernel[axis] > size:
            raise unsupported(node, "ceil_mode=True makes windows that leave the image; use ceil_mode=False")
    if flaw := why_too_large(kernel, stride):
        raise unsupported(node, flaw)
    op = FloatAvgPool(kernel, stride, both_sides(padding), bool(arguments["count_include_pad"]))
    return build.emit(op, (tensor,), result, node)


def adaptive_avg_pool(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.adaptive_avg_pool1d``, ``2d``, ``3d`` to one position, or to a size that divides the tensor's."""
    tensor = build.read(arguments["self"], node)
    shape, result = build.shapes[tensor], sample_shape(node)
    if result == shape:
        return tensor
    if max(result[1:]) == 1:
        return build.emit(Unquantized(ops.GlobalAvgPool), (tensor,), result, node)
    kernel = _dividing(shape[1:], result[1:], node)
    return build.emit(FloatAvgPool(kernel, kernel), (tensor,), result, node)


def adaptive_max_pool(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> tuple[str, ...]:
    """``aten.adaptive_max_pool1d``, ``2d``, ``3d`` to a size that divides the tensor's: values, not their indices."""
    tensor = build.read(arguments["self"], node)
    shape, result = build.shapes[tensor], tuple(int(size) for size in node.meta["val"][0].shape[1:])
    kernel = _dividing(shape[1:], result[1:], node)
    return (build.emit(ops.MaxPool(kernel, kernel), (tensor,), result, node),)


def _dividing(size: Shape, parts: Shape, node: fx.Node) -> Shape:
    """The window, as large as its stride, that divides lines or images of ``size`` into ``parts``."""
    if any(extent % count for extent, count in zip(size, parts, strict=True)):
        raise unsupported(node, f"{size} to {parts}: windows of unequal size; a size that divides works")
    kernel = tuple(extent // count for extent, count in zip(size, parts, strict=True))
    if flaw := why_too_large(kernel, kernel):
        raise unsupported(node, flaw)
    return kernel


def mean(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.mean`` over all positions: height and width, the length of a line, tokens."""
    return _over_positions(build, node, arguments, "averages", lambda _: Unquantized(ops.GlobalAvgPool))


def greatest(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str | tuple[str, ...]:
    """``aten.amax``, and the values of ``aten.max.dim``, over all positions: one window as large as the image."""
    if "other" in arguments:
        return extreme(build, node, arguments)
    if "dim" not in arguments:
        raise unsupported(node, "of all numbers; oaq takes the greatest of all positions")

    def pool(size: Shape) -> ops.MaxPool:
        kernel = _dividing(size, (1,) * len(size), node)
        return ops.MaxPool(kernel, kernel)

    result = _over_positions(build, node, arguments, "takes the greatest", pool)
    return (result,) if isinstance(node.meta["val"], tuple | list) else result


def _over_positions(
    build: TorchBuilder, node: fx.Node, arguments: Arguments, verb: str, pool: Callable[[Shape], FloatOp]
) -> str:
    """A number per channel: ``pool`` makes the operator from the sizes of all positions, ``verb`` is for messages."""
    tensor, axes = build.counted(arguments["self"], node)
    shape = build.shapes[tensor]
    stated = arguments.get("dim")
    places = (stated,) if isinstance(stated, int) else stated or ()
    dims = {int(axis) % (len(shape) + 1) for axis in places}
    if len(shape) < 2 or 0 in dims or {axes[axis - 1] for axis in dims} != set(range(1, len(shape))):
        others = [axis for axis in range(1, 1 + len(shape)) if axes[axis - 1] != 0]
        raise unsupported(
            node,
            f"over {stated} of {build.seen_shape(tensor, axes)}; oaq {verb} over all positions (height and width), "
            f"{others}",
        )
    pooled = build.emit(pool(shape[1:]), (tensor,), (shape[0], *(1,) * (len(shape) - 1)), node)
    if arguments.get("keepdim"):
        build.keep_axes(node, axes)
        return pooled
    return build.emit(FloatReshape((shape[0],)), (pooled,), (shape[0],), node, ".flatten")


def nearest(torch_mode: str) -> Callable[[TorchBuilder, fx.Node, Arguments], str]:
    """``aten.upsample_nearest<n>d`` and ``aten._upsample_nearest_exact<n>d``: the pixels that torch itself shows."""

    def take(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
        tensor = build.read(arguments["input"] if "input" in arguments else arguments["self"], node)
        shape, result, factors = build.shapes[tensor], sample_shape(node), arguments.get("scale_factors")
        picks = []
        for axis in range(1, len(shape)):
            factor = None if factors is None else float(factors[axis - 1])
            picks.append((axis, _shown(shape[axis], result[axis], factor, torch_mode)))
        even = all(np.array_equal(index, np.arange(result[a]) * shape[a] // result[a]) for a, index in picks)
        if len(shape) == 3 and even and result != shape:
            return build.emit(ops.Resize(result[1], result[2]), (tensor,), result, node)
        return pick(build, tensor, picks, site(node))

    return take


def _shown(size: int, target: int, factor: float | None, torch_mode: str) -> np.ndarray:
    """Which of ``size`` pixels each of ``target`` shows, as torch finds it in float32."""
    pixels = torch.arange(size, dtype=torch.float32).reshape(1, 1, size)
    by = {"size": target} if factor is None else {"scale_factor": factor}
    return F.interpolate(pixels, mode=torch_mode, **by).flatten().numpy().astype(np.int32)  # type: ignore[arg-type]


def upsample(mode: ops.ResizeMode) -> Any:  # noqa: ANN401
    """``aten.upsample_<mode>2d`` by exact factors, half-pixel centres or corners on corners."""

    def take(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
        tensor = build.read(arguments["input"] if "input" in arguments else arguments["self"], node)
        shape, result = build.shapes[tensor], sample_shape(node)
        corners = bool(arguments.get("align_corners"))
        factors = None if corners else arguments.get("scale_factors")  # corners lie where sizes say
        if factors is not None and any(shape[1 + axis] * float(factors[axis]) != result[1 + axis] for axis in (0, 1)):
            raise unsupported(
                node,
                f"the factors {list(factors)} do not give a whole size of {shape[1:]}; give sizes, or "
                "recompute_scale_factor=True",
            )
        if result == shape:
            return tensor
        op = ops.Resize(result[1], result[2], "bilinear_corners" if corners else mode)
        return build.emit(op, (tensor,), result, node)

    return take


def pixel_shuffle(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.pixel_shuffle``."""
    tensor = build.read(arguments["self"], node)
    return build.emit(ops.DepthToSpace(int(arguments["upscale_factor"])), (tensor,), sample_shape(node), node)
