"""Valid programs of one or two nodes whose sizes are extreme, in the plain form that files hold.

Sizes are drawn from ends and edges of powers of two; what the output's shape is follows from the operator's law as
written here once more, so that nearly every program can be built. Tensors stay small in most draws: it is products of
sizes (dilation times width, stride times channels) that are to be large.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.operators.transpose import joined

Arrays = dict[str, NDArray[Any]]
Header = dict[str, Any]
Shape = tuple[int, ...]
Generator = np.random.Generator

FACTORS: Final = (1, 1, 1, 2, 3, 7, 64, 255, 256, 1000, 4000, 4096, 16384, 32766, 32767)
"""Strides, dilations and paddings."""
LENGTHS: Final = (1, 1, 2, 3, 5, 8, 31, 64, 129, 1000, 4096, 32768, 65536, 131072, 1 << 20)
CHANNELS: Final = (1, 1, 2, 3, 4, 8, 8, 15, 16, 17, 32, 33, 256, 1000)
LARGEST: Final = 1 << 19
"""Integers of a tensor, in most draws."""
WORK: Final = 1 << 22
"""Products or comparisons of a node, in most draws: sanitized code makes a few hundred million of them in a second."""
MORE: Final = (0.06, 0.03)
"""Shares of draws in which tensors and work are 32 times as large, and in which only memory limits a tensor."""


def extreme_program(rng: Generator) -> tuple[Header, Arrays]:
    """A header and arrays, as ``oaq.program.plain`` describes them."""
    kind = str(rng.choice(KINDS))
    share = float(rng.random())
    limit = 1 << 31 if share < MORE[1] else 32 * LARGEST if share < sum(MORE) else LARGEST
    x = _image(rng, limit)
    node, y, arrays, x = _node(rng, kind, x, limit)
    moves_only = kind in ("MaxPool", "Resize", "DepthToSpace", "Reshape", "Pad", "Slice", "Transpose")
    low, high = (0, 255) if rng.random() < 0.5 else (int(rng.integers(0, 100)), int(rng.integers(100, 256)))
    zero = int(rng.integers(low, high + 1))
    source = {"name": "x", "shape": list(x), "scale": 0.5, "zero_point": zero, "range": [low, high]}
    result = {"name": "y", "shape": list(y), "scale": 0.5, "zero_point": 0, "range": [0, 255]}
    if moves_only:
        result |= {"zero_point": zero, "range": [low, high]}
    header = {
        "version": 1,
        "name": "extreme",
        "requantize": "float32_half_even",
        "inputs": ["x"],
        "outputs": ["y"],
        "tensors": [source, result],
        "nodes": [{"name": kind, "output": "y", **node}],
        "metadata": {},
    }
    return header, arrays


def _image(rng: Generator, limit: int) -> Shape:
    while True:
        shape = (int(rng.choice(LENGTHS)), int(rng.choice(LENGTHS)), int(rng.choice(CHANNELS)))
        if shape[0] * shape[1] * shape[2] < limit:
            return shape


def _node(rng: Generator, kind: str, x: Shape, limit: int) -> tuple[Header, Shape, Arrays, Shape]:
    """The node without its name, the result's shape, its arrays, the input's shape."""
    match kind:
        case "Conv2d" | "Depthwise":
            return _conv2d(rng, kind, x, limit)
        case "MaxPool" | "AvgPool":
            return _pool(rng, kind, x, limit)
        case "Resize":
            y = (*_image(rng, limit)[:2], x[2])
            return {"op": kind, "inputs": ["x"], "height": y[0], "width": y[1], "mode": _mode(rng)}, y, {}, x
        case "Pad":
            padding = [int(value) for value in rng.choice(FACTORS, 4) * rng.integers(0, 2, 4)]
            y = (x[0] + padding[0] + padding[1], x[1] + padding[2] + padding[3], x[2])
            return {"op": kind, "inputs": ["x"], "padding": padding}, y, {}, x
        case "Reshape":
            size = x[0] * x[1] * x[2]
            y = (size,) if rng.random() < 0.5 else (1, size, 1)
            return {"op": kind, "inputs": ["x"], "shape": list(y)}, y, {}, x
        case "Slice":
            begin = [int(rng.integers(size)) for size in x]
            end = [int(rng.integers(first + 1, size + 1)) for first, size in zip(begin, x, strict=True)]
            y = tuple(last - first for first, last in zip(begin, end, strict=True))
            return {"op": kind, "inputs": ["x"], "begin": begin, "end": end}, y, {}, x
        case "Transpose":
            order = [int(place) for place in rng.permutation(3)]
            y = tuple(x[place] for place in order)
            fewest = [list(numbers) for numbers in joined(x, tuple(order))]
            fields = {"split": fewest[0], "order": fewest[1], "shape": list(y)}
            return {"op": kind, "inputs": ["x"], **fields}, y, {}, x
        case "DepthToSpace":
            block = int(rng.choice((1, 2, 3, 8, 16, 31)))
            x = (min(x[0], 64), min(x[1], 64), int(rng.choice((1, 2, 3))) * block * block)
            y = (x[0] * block, x[1] * block, x[2] // block**2)
            mode = str(rng.choice(("DCR", "CRD")))
            return {"op": kind, "inputs": ["x"], "block": block, "mode": mode}, y, {}, x
        case "Linear":
            terms = int(rng.choice((66311, 70000) if limit > LARGEST else (1, 3, 64, 511, 4096)))
            outputs = int(rng.choice((1, 2, 17)))
            arrays = _sums(rng, (outputs, terms))
            return {"op": kind, "inputs": ["x"]}, (outputs,), arrays, (terms,)
        case _:
            arrays = {"nodes/0/requantize.multiplier": _multipliers(rng, 1)}
            return {"op": "GlobalAvgPool", "inputs": ["x"]}, (1, 1, x[2]), arrays, x


def _conv2d(rng: Generator, kind: str, x: Shape, limit: int) -> tuple[Header, Shape, Arrays, Shape]:
    depthwise = kind == "Depthwise"
    x = (x[0], x[1], min(x[2], 64))
    kernel = (int(rng.choice((1, 1, 2, 3, 5, 7, 31))), int(rng.choice((1, 1, 2, 3, 5, 7))))
    outputs = x[2] if depthwise else int(rng.choice((1, 2, 8, 17)))
    window, (rows, columns) = _window(
        rng, x, kernel, _most_windows(limit, kernel, x[2] * (1 if depthwise else outputs), outputs)
    )
    arrays = _sums(rng, (outputs, *kernel, 1 if depthwise else x[2]))
    node = {"op": "Conv2d", "inputs": ["x"], **window, "groups": x[2] if depthwise else 1}
    return node, (rows, columns, outputs), arrays, x


def _pool(rng: Generator, kind: str, x: Shape, limit: int) -> tuple[Header, Shape, Arrays, Shape]:
    kernel = (int(rng.choice((1, 2, 3, 15, 64))), int(rng.choice((1, 2, 3, 15, 64))))
    window, (rows, columns) = _window(
        rng, x, kernel, _most_windows(limit, kernel, x[2], x[2]), dilated=kind == "MaxPool"
    )
    node = {"op": kind, "inputs": ["x"], "kernel": list(kernel), **window}
    if kind == "MaxPool":
        return node, (rows, columns, x[2]), {}, x
    del node["dilation"]
    node["count_include_pad"] = bool(rng.integers(2))
    return node, (rows, columns, x[2]), {"nodes/0/requantize.multiplier": _multipliers(rng, 1)}, x


def _window(
    rng: Generator, x: Shape, kernel: tuple[int, int], limit: int, *, dilated: bool = True
) -> tuple[Header, tuple[int, int]]:
    """Stride, padding and dilation under which some window fits, and how many do; at last the plainest ones."""
    for _ in range(20):
        stride, dilation = (tuple(int(value) for value in rng.choice(FACTORS, 2)) for _ in range(2))
        dilation = dilation if dilated else (1, 1)
        padding = [int(value) for value in rng.choice(FACTORS, 4) * rng.integers(0, 2, 4)]
        reach = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in range(2)]
        if rng.random() < 0.5:  # just enough padding for a few windows
            padding = [reach[0] // 2, reach[0] - 1 - reach[0] // 2, reach[1] // 2, reach[1] - 1 - reach[1] // 2]
        sizes = [x[0] + padding[0] + padding[1], x[1] + padding[2] + padding[3]]
        counts = [(sizes[axis] - reach[axis]) // stride[axis] + 1 for axis in range(2)]
        if min(counts) >= 1 and counts[0] * counts[1] < limit:
            return {"stride": list(stride), "padding": padding, "dilation": list(dilation)}, (counts[0], counts[1])
    stride = [max(x[axis] - kernel[axis], 1) for axis in range(2)]  # two windows, or one, or none
    counts = [(x[axis] - kernel[axis]) // stride[axis] + 1 for axis in range(2)]
    return {"stride": stride, "padding": [0, 0, 0, 0], "dilation": [1, 1]}, (counts[0], counts[1])


def _most_windows(limit: int, kernel: tuple[int, int], products: int, outputs: int) -> int:
    """Windows that neither make a tensor of more than ``limit`` integers nor take long."""
    work = WORK if limit == LARGEST else 32 * WORK
    return max(min(limit // outputs, work // (kernel[0] * kernel[1] * products)), 2)


def _sums(rng: Generator, shape: Shape) -> Arrays:
    weight = rng.integers(-128, 128, shape).astype(np.int8) if rng.random() < 0.7 else np.ones(shape, np.int8)
    bias = rng.integers(-1000, 1000, shape[0]).astype(np.int32)
    if rng.random() < 0.1:
        bias[:] = rng.choice((2**31 - 1, -(2**31)))
    return {
        "nodes/0/weight": weight,
        "nodes/0/bias": bias,
        "nodes/0/requantize.multiplier": _multipliers(rng, shape[0]),
    }


def _multipliers(rng: Generator, count: int) -> NDArray[np.float32]:
    return np.full(count, rng.choice((0.5, 1e-3, 1.0, 1e-30, 1e-45, 3e38, 2.0**21, 2.0**22)), np.float32)


def _mode(rng: Generator) -> str:
    return str(rng.choice(("nearest", "bilinear", "bilinear_corners")))


KINDS: Final = (
    *("Conv2d", "Conv2d", "Depthwise", "Depthwise", "MaxPool", "AvgPool", "Resize", "Pad", "Reshape", "Slice"),
    *("DepthToSpace", "Linear", "GlobalAvgPool", "Transpose"),
)
