"""Sums of products, derived as centre and radius: 2 * w * x lies in w * (lo + hi) -+ |w| * (hi - lo) for x in [lo, hi].

Every array is int64 (products int32 where they cannot leave it), and every magnitude is checked in Python integers
before it is trusted.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Node, Tensor
from oaq.checker.ranges import Ints, Range
from oaq.checker.registers import Register
from oaq.errors import FormatError

Integer = TypeVar("Integer", bound=np.integer)
S32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True, eq=False)
class Layer:
    """One Conv2d or Linear as kernels see it.

    Attributes:
        node: its name.
        weight: (N, K) int8, or int16 in [-255, 255] where one leaves int8, k = (row * KW + column) * C_group + c.
        lo: (R, K) least of each operand as loaded; output n reads row n // (N / R).
        hi: (R, K) most.
        bias: (N,) int64.
        zero: zero point of the input.
        tile_groups: groups that a tile of outputs does not span.
    """

    node: str
    weight: NDArray[np.signedinteger[Any]]
    lo: Ints
    hi: Ints
    bias: Ints
    zero: int
    tile_groups: int


@dataclass(frozen=True, eq=False)
class Sums:
    """Ends of every output's sums: (N, 2) int64 each; ``folded_bias`` (N,)."""

    total: Ints
    raw: Ints
    raw_partial: Ints
    folded_bias: Ints


def layer(node: Node, x: Range, spec: Tensor, y: Tensor) -> Layer:
    """Read a Conv2d or Linear.

    Raises:
        FormatError: its arrays, its input and its output do not fit each other, or a weight leaves [-255, 255].
    """
    convolution = node.kind == "Conv2d"
    weight = node.array("weight", np.int8, 4 if convolution else 2, np.int16)
    bias = node.array("bias", np.int32, 1)
    if weight.size == 0 or len(bias) != len(weight) or len(weight) != y.shape[-1] or not _is_weight(weight):
        raise FormatError(f"{node.name}: weights of shape {weight.shape} from {weight.min(initial=0)} do not fit")
    groups = node.number("groups") if convolution else 1
    if groups < 1 or len(weight) % groups or weight.shape[-1] * groups != spec.shape[-1]:
        raise FormatError(f"{node.name}: {groups} groups of {weight.shape} do not fit an input {spec.shape}")
    if weight[0].size * 255 * 255 >= 1 << 60:
        raise FormatError(f"{node.name}: {weight[0].size} products per output are beyond this checker")
    lo, hi = _operands(node, x, spec, y, groups) if convolution else (x.lo[None], x.hi[None])
    depthwise = convolution and 1 < groups == len(weight) and weight.shape[-1] == 1
    flat = weight.reshape(len(weight), -1)
    return Layer(node.name, flat, lo, hi, bias.astype(np.int64), spec.zero, 1 if depthwise else groups)


def _is_weight(weight: NDArray[Integer]) -> bool:
    """A u8 less a zero point, in the narrower of the two types that holds all of them."""
    low, high = int(weight.min()), int(weight.max())
    return weight.dtype == np.int8 or (-255 <= low <= high <= 255 and not -128 <= low <= high <= 127)


def _operands(node: Node, x: Range, spec: Tensor, y: Tensor, groups: int) -> tuple[Ints, Ints]:
    kernel = node.arrays["weight"].shape[1:3]
    stride, dilation, padding = node.numbers("stride", 2), node.numbers("dilation", 2), node.numbers("padding", 4)
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise FormatError(f"{node.name}: stride {stride}, dilation {dilation}, padding {padding}")
    seen: list[list[set[bool]]] = []
    for axis in (0, 1):
        size, before, after = spec.shape[axis], padding[2 * axis], padding[2 * axis + 1]
        starts = range(-before, size + after - (kernel[axis] - 1) * dilation[axis], stride[axis])
        if len(starts) != y.shape[axis]:
            raise FormatError(f"{node.name}: {len(starts)} windows along axis {axis}, declared {y.shape[axis]}")
        seen.append([_sees(starts, size, tap * dilation[axis]) for tap in range(kernel[axis])])
    lo, hi = x.lo.reshape(groups, -1), x.hi.reshape(groups, -1)
    ends: tuple[list[Ints], list[Ints]] = ([], [])
    for rows in seen[0]:
        for columns in seen[1]:
            low, high = lo, hi
            if False in rows or False in columns:
                low, high = np.minimum(lo, spec.zero), np.maximum(hi, spec.zero)
            if True not in rows or True not in columns:
                low = high = np.full_like(lo, spec.zero)
            ends[0].append(low)
            ends[1].append(high)
    return np.concatenate(ends[0], axis=1), np.concatenate(ends[1], axis=1)


def _sees(starts: range, size: int, tap: int) -> set[bool]:
    """Whether some window's tap lies inside the image, whether some lies outside."""
    inside = bisect_left(starts, size - tap) - bisect_left(starts, -tap)
    return {found for found, count in ((True, inside), (False, len(starts) - inside)) if count}


def derive(of: Layer) -> Sums:
    """The 32-bit sums of a layer."""
    raw = _ends(of, of.lo, of.hi)
    partial = _ends(of, np.minimum(of.lo, 0), np.maximum(of.hi, 0))
    folded = of.bias - of.zero * of.weight.sum(axis=1, dtype=np.int64)
    return Sums(raw + folded[:, None], raw, partial, folded)


def leaves_s32(sums: Sums) -> list[tuple[str, int, int, int]]:
    """What a kernel may hold that 32 bits may not: (what, output, least, most)."""
    held = {
        "the folded bias": np.stack([sums.folded_bias] * 2, axis=1),
        "a partial sum": sums.raw_partial,
        "a partial sum with bias": sums.raw_partial + sums.folded_bias[:, None],
    }
    wrong = []
    for what, ends in held.items():
        low, high = ends.min(axis=1), ends.max(axis=1)
        for output in np.nonzero((low < S32[0]) | (high > S32[1]))[0]:
            wrong.append((what, int(output), int(low[output]), int(high[output])))
    return wrong


def _ends(of: Layer, lo: Ints, hi: Ints) -> Ints:
    rows = len(lo)
    weight = of.weight.reshape(rows, -1, of.weight.shape[1]).astype(np.int64)
    centre = np.matmul(weight, (lo + hi)[:, :, None])[:, :, 0].reshape(-1)
    radius = np.matmul(np.abs(weight), (hi - lo)[:, :, None])[:, :, 0].reshape(-1)
    return np.stack([(centre - radius) // 2, (centre + radius) // 2], axis=1)


def tiles(of: Layer, values: NDArray[Integer], tile_n: int, step: int) -> NDArray[Integer]:
    """(N, K) laid out as (T * Q, tile_n, step): tiles of outputs, then steps, zeros where there is nothing."""
    outputs, terms = values.shape
    per_group = outputs // of.tile_groups
    per_tile = -(-per_group // tile_n)
    steps = -(-terms // step)
    if of.tile_groups * per_tile * tile_n * steps * step > 64 * values.size + (1 << 24):
        raise FormatError(
            f"{of.node}: tiles of {tile_n} outputs and steps of {step} do not suit weights {values.shape}"
        )
    result = np.zeros((of.tile_groups, per_tile, tile_n, steps * step), values.dtype)
    for tile in range(per_tile):
        rows = values.reshape(of.tile_groups, per_group, terms)[:, tile * tile_n : (tile + 1) * tile_n]
        result[:, tile, : rows.shape[1], :terms] = rows
    cut = result.reshape(-1, tile_n, steps, step)
    return np.ascontiguousarray(np.moveaxis(cut, 2, 1)).reshape(-1, tile_n, step)


def lane_ends(
    packed: NDArray[np.int8], lo: Ints, hi: Ints, step_index: Ints, model: Register
) -> tuple[Ints, Ints, Ints, Ints]:
    """What each executed step adds: least and most of each lane (S, tile_n, lanes) and of any group (S,)."""
    count, outputs, step = packed.shape
    groups = step // model.group
    shape = (count, outputs, groups, model.group)
    weight = packed.astype(np.int32)
    centre = (weight * (lo + hi).astype(np.int32)).reshape(shape).sum(axis=3, dtype=np.int64)
    radius = (np.abs(weight) * (hi - lo).astype(np.int32)).reshape(shape).sum(axis=3, dtype=np.int64)
    low, high = (centre - radius) // 2, (centre + radius) // 2
    least, most = low.min(axis=(1, 2)), high.max(axis=(1, 2))
    if model.counts_partial_sums:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    lanes = [np.zeros((count, outputs, model.lanes), np.int64) for _ in range(2)]
    first = step_index * step // model.group
    for group in range(groups):
        lane = (first + group) % model.lanes
        for target, values in zip(lanes, (low, high), strict=True):
            if (lane == lane[0]).all():
                target[:, :, int(lane[0])] += values[:, :, group]
            else:
                target[np.arange(count), :, lane] += values[:, :, group]
    return lanes[0], lanes[1], least, most
