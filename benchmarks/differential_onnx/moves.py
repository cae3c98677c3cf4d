"""Operators that move values: on reals, or on the integers behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from benchmarks.differential_onnx.net import WIDE, Impossible, Net, Shape, Tensor

Maker = Callable[[Net, Tensor], Tensor]


def _axis(net: Net, axis: int, rank: int) -> int:
    return int(net.pick([axis, axis - rank]))


def transpose(net: Net, x: Tensor) -> Tensor:
    """Any order; the batch first mostly."""
    rank = len(x.shape)
    order = (
        [0, *(1 + net.rng.permutation(rank - 1)).tolist()] if net.chance(0.9) else net.rng.permutation(rank).tolist()
    )
    if net.chance(0.5) and rank == 4:
        order = net.pick([[0, 2, 3, 1], [0, 3, 1, 2]])
    more = {"perm": order} if order != list(reversed(range(rank))) or net.chance(0.5) else {}
    return replace(x, name=net.node("Transpose", x.name, **more), shape=tuple(x.shape[at] for at in order))


def reshape(net: Net, x: Tensor) -> Tensor:
    """To another shape: with -1 or 0, by numbers or computed from shapes."""
    sample = prod(x.shape[1:])
    halves = [(h, sample // h) for h in range(1, sample + 1) if sample % h == 0 and sample // h >= h][:6]
    options: list[Shape] = [(sample,), *halves, *((a, b, 1) for a, b in halves)]
    if len(x.shape) == 4:
        options += [(x.shape[1], x.shape[2] * x.shape[3]), (x.shape[1], prod(x.shape[2:]), 1)]
    shape = (x.shape[0], *net.pick(options))
    target = list(shape)
    if net.chance(0.5):
        target[net.between(0, len(target) - 1)] = -1
    if net.chance(0.4) and target[0] != -1:
        target[0] = 0
    if net.chance(0.3):
        return replace(x, name=net.node("Reshape", x.name, _computed(net, x, shape)), shape=shape)
    more = {"allowzero": 0} if net.opset >= 14 and net.chance(0.2) else {}
    return replace(x, name=net.node("Reshape", x.name, net.constant(target, np.int64), **more), shape=shape)


def _computed(net: Net, x: Tensor, shape: Shape) -> str:
    """The batch as Shape tells it, and the rest as numbers."""
    if net.opset >= 15 and net.chance(0.4):
        batch = net.node("Shape", x.name, start=0, end=1)
    else:
        sizes = net.node("Shape", x.name)
        if net.chance(0.4):
            sizes = net.node("Identity", sizes)
        if net.chance(0.3):
            sizes = net.node("Cast", net.node("Cast", sizes, to=6), to=7)
        batch = net.node("Gather", sizes, net.constant([0], np.int64))
    return net.node("Concat", batch, net.constant([*shape[1:-1], -1], np.int64), axis=0)


def flatten(net: Net, x: Tensor) -> Tensor:
    """From axis 1, counted from either end."""
    axis = net.pick([1, 1, 1 - len(x.shape)] if net.opset >= 11 else [1])
    more = {"axis": axis} if axis != 1 or net.chance(0.5) else {}
    return replace(x, name=net.node("Flatten", x.name, **more), shape=(x.shape[0], prod(x.shape[1:])))


def squeeze(net: Net, x: Tensor) -> Tensor:
    """Some axes of size 1."""
    units = [axis for axis, size in enumerate(x.shape) if size == 1 and axis]
    if not units:
        raise Impossible
    axes = units if net.chance(0.5) else [net.pick(units)]
    shown = [_axis(net, axis, len(x.shape)) if net.opset >= 11 else axis for axis in axes]
    shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    return replace(x, name=net.numbers("Squeeze", x.name, "axes", shown, 13), shape=shape)


def unsqueeze(net: Net, x: Tensor) -> Tensor:
    """One axis more."""
    rank = len(x.shape) + 1
    if rank > 4:
        raise Impossible
    axis = net.between(1, rank - 1)
    shown = _axis(net, axis, rank) if net.opset >= 11 else axis
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    return replace(x, name=net.numbers("Unsqueeze", x.name, "axes", [shown], 13), shape=shape)


def pad(net: Net, x: Tensor) -> Tensor:
    """Constant, mostly zeros on positions; other modes now and then."""
    rank = len(x.shape)
    before, after = ([0, 0, *(net.between(0, 2) for _ in range(rank - 2))][:rank] for _ in range(2))
    if net.chance(0.1):
        before[1] = 1
    mode = net.pick(["constant"] * 5 + ["edge", "reflect"] + ["wrap"] * (net.opset >= 19))
    if mode in ("reflect", "wrap"):
        less = 1 if mode == "reflect" else 0
        before, after = ([min(p, s - less) for p, s in zip(side, x.shape, strict=True)] for side in (before, after))
    value = 0.0 if net.chance(0.8) else 0.5
    more = {"mode": mode} if mode != "constant" or net.chance(0.4) else {}
    shape = tuple(b + s + a for b, s, a in zip(before, x.shape, after, strict=True))
    y = replace(x, shape=shape)
    if net.opset < 11:
        more |= {"value": value} if value else {}
        return replace(y, name=net.node("Pad", x.name, pads=[*before, *after], **more))
    fill = net.constant(value) if value or net.chance(0.3) else ""
    axes = []
    if net.opset >= 18 and net.chance(0.3) and not any((*before[:2], *after[:2])) and rank > 2:
        before, after = before[2:], after[2:]
        axes = [net.constant([_axis(net, axis, rank) for axis in range(2, rank)], np.int64)]
    return replace(y, name=net.node("Pad", x.name, net.constant([*before, *after], np.int64), fill, *axes, **more))


def cut(net: Net, x: Tensor) -> Tensor:
    """Slice of one or two axes: ends from either side, steps mostly 1."""
    axes = sorted(
        net.rng.choice(range(1, len(x.shape)), min(len(x.shape) - 1, net.between(1, 2)), replace=False).tolist()
    )
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in axes:
        size = x.shape[axis]
        start = net.between(0, max(size - 2, 0))
        end, step = net.between(start + 1, size), 2 if net.chance(0.1) and net.opset >= 10 else 1
        if net.chance(0.1) and net.opset >= 10:  # from the last on, backwards
            shape[axis] = size
            starts.append(size - 1)
            ends.append(-size - 1)
            steps.append(-1)
            continue
        shape[axis] = len(range(start, end, step))
        starts.append(start - size if net.chance(0.3) else start)
        ends.append(net.pick([end - size] if end < size else [size + 5, 1 << 62]) if net.chance(0.4) else end)
        steps.append(step)
    if net.opset < 10:
        name = net.node("Slice", x.name, axes=axes, starts=starts, ends=[min(end, 1 << 30) for end in ends])
        return replace(x, name=name, shape=tuple(shape))
    shown = [_axis(net, axis, len(x.shape)) for axis in axes]
    numbers = [net.constant(values, np.int64) for values in (starts, ends, shown)]
    last = [net.constant(steps, np.int64)] if set(steps) != {1} or net.chance(0.4) else []
    return replace(x, name=net.node("Slice", x.name, *numbers, *last), shape=tuple(shape))


def split(net: Net, x: Tensor) -> Tensor:
    """Two parts; the second goes on."""
    axis = net.between(1, len(x.shape) - 1)
    size = x.shape[axis]
    if size < 2:
        raise Impossible
    first = net.between(1, size - 1)
    more = {"axis": _axis(net, axis, len(x.shape)) if net.opset >= 11 else axis}
    if net.opset >= 18 and net.chance(0.4):
        first = -(-size // 2)
        name = net.node("Split", x.name, results=2, num_outputs=2, **more)
    elif net.opset < 13:
        name = net.node("Split", x.name, results=2, split=[first, size - first], **more)
    else:
        name = net.node("Split", x.name, net.constant([first, size - first], np.int64), results=2, **more)
    parts = [(name, first), (name.removesuffix(".0") + ".1", size - first)]
    tensors = [replace(x, name=part, shape=(*x.shape[:axis], n, *x.shape[axis + 1 :])) for part, n in parts]
    return tensors[net.between(0, 1)]


def gather(net: Net, x: Tensor) -> Tensor:
    """Some indices of an axis."""
    axis = net.between(1, len(x.shape) - 1)
    size = x.shape[axis]
    begin = net.between(0, size - 1)
    index = (
        list(range(begin, net.between(begin, size - 1) + 1))
        if net.chance(0.5)
        else net.rng.integers(0, size, 3).tolist()
    )
    name = net.node("Gather", x.name, net.constant(index, np.int64), axis=_axis(net, axis, len(x.shape)))
    return replace(x, name=name, shape=(*x.shape[:axis], len(index), *x.shape[axis + 1 :]))


def depth_to_space(net: Net, x: Tensor) -> Tensor:
    """DepthToSpace in either mode."""
    if len(x.shape) != 4 or x.shape[1] % 4:
        raise Impossible
    more = {"mode": net.pick(["DCR", "CRD"])} if net.opset >= 11 and net.chance(0.7) else {}
    n, c, h, w = x.shape
    return replace(x, name=net.node("DepthToSpace", x.name, blocksize=2, **more), shape=(n, c // 4, h * 2, w * 2))


def resize(net: Net, x: Tensor) -> Tensor:
    """Resize by scales or sizes, in every mode and every rule of coordinates; Upsample where the opset has it."""
    rank = len(x.shape)
    if rank not in (3, 4, 5):
        raise Impossible
    scales = [
        float(np.float32(net.pick([2.0, 2.0, 1.0, 3.0, 1.5, 0.5, float(net.rng.uniform(0.4, 2.5))])))
        for _ in x.shape[2:]
    ]
    sizes = [int(np.floor(np.float32(s) * np.float32(f))) for s, f in zip(x.shape[2:], scales, strict=True)]
    if min(sizes) < 1 or max(sizes) > 40:
        raise Impossible
    mode, shape = net.pick(["nearest", "nearest", "linear"] if rank == 4 else ["nearest"]), (*x.shape[:2], *sizes)
    if net.opset < 10:
        if min(scales) < 1:
            raise Impossible
        if net.opset < 9:
            return replace(x, name=net.node("Upsample", x.name, mode=mode, scales=[1.0, 1.0, *scales]), shape=shape)
        return replace(x, name=net.node("Upsample", x.name, net.constant([1.0, 1.0, *scales]), mode=mode), shape=shape)
    if net.opset == 10:
        c = net.constant([1.0, 1.0, *scales])
        return replace(x, name=net.node("Resize", x.name, c, mode=mode), shape=shape)
    more: dict[str, object] = {"mode": net.pick([mode] * 9 + ["cubic"] * (rank == 4))}
    if net.chance(0.6):
        rules = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
        rules += ["tf_half_pixel_for_nn"] * (net.opset < 13 and more["mode"] == "nearest")
        more["coordinate_transformation_mode"] = net.pick(rules + ["half_pixel_symmetric"] * (net.opset >= 19))
    if net.chance(0.5) and more["mode"] == "nearest":
        more["nearest_mode"] = net.pick(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    roi = net.constant([], np.float32) if net.opset < 13 else ""
    by_axes = net.opset >= 18 and net.chance(0.3)
    ones = [] if by_axes else [1.0, 1.0]
    if by_axes:
        more["axes"] = list(range(2, rank))
    if net.chance(0.5):
        return replace(x, name=net.node("Resize", x.name, roi, net.constant([*ones, *scales]), **more), shape=shape)
    none = net.constant([], np.float32) if net.opset < 13 else ""
    target = net.constant([*([] if by_axes else x.shape[:2]), *sizes], np.int64)
    if net.opset >= 18 and net.chance(0.3) and by_axes:
        more["keep_aspect_ratio_policy"] = net.pick(["stretch", "not_larger", "not_smaller"])
        if more["keep_aspect_ratio_policy"] != "stretch":
            choose = min if more["keep_aspect_ratio_policy"] == "not_larger" else max
            scale = choose(np.float32(size) / np.float32(old) for size, old in zip(sizes, x.shape[2:], strict=True))
            shape = (*x.shape[:2], *(int(np.floor(scale * np.float32(old) + np.float32(0.5))) for old in x.shape[2:]))
    return replace(x, name=net.node("Resize", x.name, roi, none, target, **more), shape=shape)


MOVES: dict[str, Maker] = {
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Pad": pad,
    "Slice": cut,
    "Split": split,
    "Gather": gather,
    "DepthToSpace": depth_to_space,
    "Resize": resize,
}


def _clip_integers(net: Net, x: Tensor) -> Tensor:
    """Clip of integers, which is of floats before opset 12."""
    assert x.stored is not None
    if net.opset < 12:
        raise Impossible
    low = net.between(-100, 20) if x.stored.kind == "int8" else net.between(0, 120)
    ends = [net.integers(np.array(low), x.stored.kind), net.integers(np.array(low + 60), x.stored.kind)]
    if net.chance(0.3):
        ends[net.between(0, 1)] = ""
    return replace(x, name=net.node("Clip", x.name, *ends))


def _pool_integers(net: Net, x: Tensor) -> Tensor:
    """MaxPool of integers."""
    if len(x.shape) not in (3, 4, 5) or min(x.shape[2:]) < 2:
        raise Impossible
    kernel = [2] * (len(x.shape) - 2)
    return replace(
        x,
        name=net.node("MaxPool", x.name, kernel_shape=kernel, strides=kernel),
        shape=(*x.shape[:2], *(size // 2 for size in x.shape[2:])),
    )


def on_integers(net: Net, x: Tensor) -> Tensor:
    """A mover of the integers themselves, between QuantizeLinear and DequantizeLinear."""
    if x.stored is None or x.stored.kind not in WIDE:
        raise Impossible
    makers = [transpose, reshape, flatten, squeeze, unsqueeze, cut, gather, split, _clip_integers]
    makers += [_pool_integers] * (net.opset >= 12) + [depth_to_space] * (net.opset >= 13)
    y = net.pick(makers)(net, replace(x, name=x.stored.name))
    name = net.node("DequantizeLinear", y.name, x.stored.scale, x.stored.zero_point)
    return replace(y, name=name, stored=replace(x.stored, name=y.name))
