"""Operators as lists of terms, for the checker of robustness: (output element, input element, weight), nothing clever.

Every tensor is flat, its integers less their zero point, so padding contributes nothing and needs no term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Node, Program, Tensor
from oaq.checker.stretches import stretches_of
from oaq.errors import FormatError

Ints = NDArray[np.int64]
MOST_TERMS = 1 << 27
"""Terms of one operator: what a hostile file may make this checker work through."""


@dataclass(frozen=True, eq=False)
class Terms:
    """sum over terms with output o of weight * x[input].

    Attributes:
        output, input, weight: one entry per term, ordered by output.
        outputs, inputs: sizes.
    """

    output: Ints
    input: Ints
    weight: Ints
    outputs: int
    inputs: int

    def forward(self, x: Ints) -> Ints:
        """(B, inputs) to (B, outputs)."""
        return _gathered(x[:, self.input] * self.weight, self.output, self.outputs)

    def ends(self, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
        """Least and greatest sum over boxes: each term at the end its sign prefers."""
        up = self.weight > 0
        low, high = lo[:, self.input] * self.weight, hi[:, self.input] * self.weight
        least = _gathered(np.where(up, low, high), self.output, self.outputs)
        return least, _gathered(np.where(up, high, low), self.output, self.outputs)

    def backward(self, v: Ints) -> Ints:
        """(B, outputs) to (B, inputs): the transpose."""
        order = np.argsort(self.input, kind="stable")
        return _gathered(v[:, self.output[order]] * self.weight[order], self.input[order], self.inputs)

    def most(self) -> tuple[int, int]:
        """Largest magnitude of a weight, most terms that any element has on either side."""
        if not len(self.weight):
            return 0, 0
        crowd = max(int(np.bincount(side).max()) for side in (self.input, self.output))
        return int(np.abs(self.weight).max()), crowd


def _gathered(terms: Ints, at: Ints, size: int) -> Ints:
    """Sums of terms by element; ``at`` ascends."""
    result = np.zeros((terms.shape[0], size), np.int64)
    if len(at):
        first = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1]]))
        result[:, at[first]] = np.add.reduceat(terms, first, axis=1)
    return result


def size_of(tensor: Tensor) -> int:
    """Elements."""
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def _ordered(output: NDArray, source: NDArray, weight: NDArray, outputs: int, inputs: int) -> Terms:
    if output.size > MOST_TERMS:
        raise FormatError(f"an operator of {output.size} terms is more than this checker works through")
    order = np.argsort(output, kind="stable")
    flat = (output[order].astype(np.int64), source[order].astype(np.int64), weight[order].astype(np.int64))
    return Terms(*flat, outputs, inputs)


def linear_terms(node: Node) -> Terms:
    """Terms of a Linear: its weights."""
    weight = node.array("weight", np.int8, 2, np.int16)
    output, source = np.indices(weight.shape)
    return _ordered(output.ravel(), source.ravel(), weight.ravel(), *weight.shape)


def window_terms(node: Node, x: Tensor, y: Tensor, kernel: tuple[int, int]) -> list[tuple[Ints, Ints, int]]:
    """For each tap inside the image: flat output positions, the input position of each, and the tap's number."""
    stride, padding = node.numbers("stride", 2), node.numbers("padding", 4)
    dilation = node.numbers("dilation", 2) if "dilation" in node.fields else (1, 1)
    rows, columns = np.indices(y.shape[:2])
    taps = []
    for tap in range(kernel[0] * kernel[1]):
        row = rows * stride[0] + tap // kernel[1] * dilation[0] - padding[0]
        column = columns * stride[1] + tap % kernel[1] * dilation[1] - padding[2]
        inside = (row >= 0) & (row < x.shape[0]) & (column >= 0) & (column < x.shape[1])
        taps.append((np.flatnonzero(inside.ravel()), (row * x.shape[1] + column)[inside], tap))
    return taps


def conv_terms(node: Node, x: Tensor, y: Tensor) -> Terms:
    """Terms of a Conv2d: a term per output position, tap inside the image, output and channel of its group."""
    weight = node.array("weight", np.int8, 4, np.int16)
    outputs, height, width, per_group = weight.shape
    groups = node.number("groups")
    if outputs != y.shape[2] or groups < 1 or outputs % groups or per_group * groups != x.shape[2]:
        raise FormatError(f"{node.name}: weights {weight.shape} in {groups} groups do not fit {x.shape} to {y.shape}")
    flat = weight.reshape(outputs, height * width, per_group)
    channel = np.arange(outputs)[:, None] // (outputs // groups) * per_group + np.arange(per_group)
    parts = []
    for position, source, tap in window_terms(node, x, y, (height, width)):
        shape = (len(position), outputs, per_group)
        output = np.broadcast_to(position[:, None, None] * outputs + np.arange(outputs)[None, :, None], shape)
        origin = np.broadcast_to(source[:, None, None] * x.shape[2] + channel[None], shape)
        parts.append((output.ravel(), origin.ravel(), np.broadcast_to(flat[None, :, tap], shape).ravel()))
    output, origin, values = (np.concatenate(side) for side in zip(*parts, strict=True))
    return _ordered(output, origin, values, size_of(y), size_of(x))


def pool_terms(node: Node, x: Tensor, y: Tensor) -> tuple[Terms, Ints]:
    """Terms of an AvgPool: a term of 1 per tap inside the image, and how many elements each output averages."""
    kernel = node.numbers("kernel", 2)
    channels = np.arange(x.shape[2])
    parts = [
        ((position[:, None] * y.shape[2] + channels).ravel(), (source[:, None] * x.shape[2] + channels).ravel())
        for position, source, _ in window_terms(node, x, y, (kernel[0], kernel[1]))
    ]
    output, origin = (np.concatenate(side) for side in zip(*parts, strict=True))
    terms = _ordered(output, origin, np.ones(len(output), np.int64), size_of(y), size_of(x))
    inside = np.bincount(output, minlength=size_of(y))
    counted = node.fields.get("count_include_pad")
    if type(counted) is not bool:
        raise FormatError(f"{node.name}: count_include_pad is true or false")
    return terms, np.full(size_of(y), kernel[0] * kernel[1]) if counted else inside


def global_terms(x: Tensor) -> Terms:
    """Terms of a GlobalAvgPool: every position of a channel."""
    source = np.arange(size_of(x))
    return _ordered(source % x.shape[-1], source, np.ones(len(source), np.int64), x.shape[-1], size_of(x))


def resize_terms(x: Tensor, y: Tensor) -> Terms:
    """Terms of a bilinear Resize: four products of weights in 2**-11 on each axis."""
    axes = []
    for size, count in zip(x.shape[:2], y.shape[:2], strict=True):
        reads = []
        for at in range(count):
            place = (2 * at + 1) * size - count  # times 2 * count: where this output lies on the input's axis
            first = place // (2 * count)
            second = (2 * (place - first * 2 * count) * 2048 + 2 * count) // (4 * count)
            reads.append(((min(max(first, 0), size - 1), 2048 - second), (min(max(first + 1, 0), size - 1), second)))
        axes.append(reads)
    output, origin, weight = [], [], []
    channels = np.arange(x.shape[2])
    for row, row_reads in enumerate(axes[0]):
        for column, column_reads in enumerate(axes[1]):
            for source_row, row_weight in row_reads:
                for source_column, column_weight in column_reads:
                    output.append((row * y.shape[1] + column) * x.shape[2] + channels)
                    origin.append((source_row * x.shape[1] + source_column) * x.shape[2] + channels)
                    weight.append(np.full(len(channels), row_weight * column_weight))
    flat = (np.concatenate(output), np.concatenate(origin), np.concatenate(weight))
    return _ordered(*flat, size_of(y), size_of(x))


def joined_terms(program: Program, node: Node, y: Tensor) -> tuple[list[Terms], Ints]:
    """Terms of a Concat: each input's selection, and which input each output element comes from."""
    owner = np.zeros(size_of(y), np.int64)
    start, parts = 0, []
    for at, name in enumerate(node.inputs):
        x = program.tensors[name]
        source = np.arange(size_of(x))
        output = source // x.shape[-1] * y.shape[-1] + start + source % x.shape[-1]
        owner[output] = at
        parts.append(_ordered(output, source, np.ones(len(source), np.int64), size_of(y), size_of(x)))
        start += x.shape[-1]
    return parts, owner


def identity_terms(size: int, factor: int = 1) -> Terms:
    """Each element, times a factor."""
    at = np.arange(size)
    return Terms(at, at, np.full(size, factor, np.int64), size, size)


def max_windows(node: Node, x: Tensor, y: Tensor) -> Ints:
    """Windows of a MaxPool: (outputs, taps) input elements, -1 outside the image."""
    kernel = node.numbers("kernel", 2)
    index = np.full((size_of(y), kernel[0] * kernel[1]), -1, np.int64)
    channels = np.arange(x.shape[2])
    for position, source, tap in window_terms(node, x, y, (kernel[0], kernel[1])):
        index[(position[:, None] * y.shape[2] + channels).ravel(), tap] = (
            source[:, None] * x.shape[2] + channels
        ).ravel()
    return index


def moved_from(node: Node, x: Tensor, y: Tensor) -> Ints:
    """Sources of an operator that moves integers: which input element each output element is; -1 for padding."""
    index = np.arange(size_of(x)).reshape(x.shape)
    match node.kind:
        case "Reshape":
            result = index.reshape(y.shape)
        case "Slice":
            begin, end = (node.numbers(key, len(x.shape)) for key in ("begin", "end"))
            result = index[tuple(slice(first, last) for first, last in zip(begin, end, strict=True))]
        case "Pad":
            top, bottom, left, right = node.numbers("padding", 4)
            result = np.full((top + x.shape[0] + bottom, left + x.shape[1] + right, x.shape[2]), -1)
            result[top : top + x.shape[0], left : left + x.shape[1]] = index
        case "Resize" if node.fields.get("mode") == "nearest":
            rows, columns = (
                np.array([at * size // count for at in range(count)])
                for size, count in zip(x.shape[:2], y.shape[:2], strict=True)
            )
            result = index[rows[:, None], columns[None, :]]
        case "Transpose":
            split, order = stretches_of(node, x.shape, y.shape)
            result = index.reshape(split).transpose(order).reshape(y.shape)
        case "Gather":
            axis, picked = node.number("axis"), node.array("index", np.int32, 1)
            place = (axis - 1) % len(x.shape)  # 0 is the channels, which lie last; from 1 on, positions in their order
            if (
                not 0 <= axis < len(x.shape)
                or not len(picked)
                or not 0 <= picked.min() <= picked.max() < x.shape[place]
            ):
                raise FormatError(f"{node.name}: picks entries that are none of axis {axis} of {x.shape}")
            result = np.take(index, picked, axis=place)
        case "DepthToSpace":
            block = node.number("block")
            row, column, channel = np.indices(y.shape)
            inner = (row % block) * block + column % block
            depth = y.shape[2]
            source = inner * depth + channel if node.fields["mode"] == "DCR" else channel * block * block + inner
            result = index[row // block, column // block, source]
        case _:
            raise FormatError(f"{node.name}: this checker does not know {node.kind}")
    if result.shape != y.shape:
        raise FormatError(f"{node.name}: moves {x.shape} into {result.shape}, not {y.shape}")
    return result.ravel()
