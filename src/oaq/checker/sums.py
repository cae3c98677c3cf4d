"""Sums of products, derived as centre and radius: 2 * w * x lies in w * (lo + hi) -+ |w| * (hi - lo) for x in [lo, hi].

Every array is int64, or int32 where no sum can leave it (``narrowest``: decided in Python integers before anything is
summed). Weights are widened a block at a time, so that memory does not grow with a layer.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Node, Tensor
from oaq.checker.ranges import Ints, Range
from oaq.checker.registers import Register
from oaq.errors import FormatError

Integer = TypeVar("Integer", bound=np.integer)
S32 = (-(2**31), 2**31 - 1)
BLOCK = 1 << 17
"""Weights worked on at once: 2 MiB of sums, few enough calls."""


@dataclass(frozen=True, eq=False)
class SummingLayer:
    """One Conv2d or Linear as kernels see it.

    Attributes:
        node: its name.
        weight: (N, K) int8, or int16 in [-255, 255] where one leaves int8, k = (row * KW + column) * C_group + c.
        lo: (R, K) least of each operand as loaded; output n reads row n // (N / R).
        hi: (R, K) most.
        bias: (N,) int64.
        zero: zero point of the input.
        tile_groups: groups that a tile of outputs does not span.
        modulo: b where only sums modulo 2**b count; None where they are exact.
    """

    node: str
    weight: NDArray[np.signedinteger[Any]]
    lo: Ints
    hi: Ints
    bias: Ints
    zero: int
    tile_groups: int
    modulo: int | None = None


@dataclass(frozen=True, eq=False)
class Sums:
    """Ends of every output's sums: (N, 2) int64 each; ``folded_bias`` (N,)."""

    total: Ints
    raw: Ints
    raw_partial: Ints
    folded_bias: Ints


@dataclass(frozen=True, eq=False)
class Lanes:
    """What executed steps add, times two.

    Attributes:
        low: (lanes, tile_n, S) least of each lane.
        high: (lanes, tile_n, S) most.
        least: (S,) of any group of products; None where the register's groups need not fit.
        most: likewise.
    """

    low: NDArray[np.signedinteger[Any]]
    high: NDArray[np.signedinteger[Any]]
    least: NDArray[np.signedinteger[Any]] | None
    most: NDArray[np.signedinteger[Any]] | None


def summing_layer(node: Node, x: Range, spec: Tensor, y: Tensor) -> SummingLayer:
    """Read a Conv2d or Linear.

    Raises:
        FormatError: its arrays, its input and its output do not fit each other, or a weight leaves [-255, 255].
    """
    convolution = node.kind == "Conv2d"
    weight = node.array("weight", np.int8, len(spec.shape) + 1 if convolution else 2, np.int16)
    bias = node.array("bias", np.int32, 1)
    if weight.size == 0 or len(bias) != len(weight) or len(weight) != y.shape[-1] or not _is_weight(weight):
        raise FormatError(f"{node.name}: weights of shape {weight.shape} from {weight.min(initial=0)} do not fit")
    groups = node.number("groups") if convolution else 1
    if groups < 1 or len(weight) % groups or weight.shape[-1] * groups != spec.shape[-1]:
        raise FormatError(f"{node.name}: {groups} groups of {weight.shape} do not fit an input {spec.shape}")
    if weight[0].size * 255 * 255 >= 1 << 60:
        raise FormatError(f"{node.name}: {weight[0].size} products per output are beyond this checker")
    lo, hi = _operands(node, x, spec, y, groups) if convolution else (x.lo[None], x.hi[None])
    depthwise = convolution and weight.ndim < 5 and 1 < groups == len(weight) and weight.shape[-1] == 1
    flat = weight.reshape(len(weight), -1)
    return SummingLayer(node.name, flat, lo, hi, bias.astype(np.int64), spec.zero, 1 if depthwise else groups)


def _is_weight(weight: NDArray[Integer]) -> bool:
    """A u8 less a zero point, in the narrower of the two types that holds all of them."""
    low, high = int(weight.min()), int(weight.max())
    return weight.dtype == np.int8 or (-255 <= low <= high <= 255 and not -128 <= low <= high <= 127)


def _operands(node: Node, x: Range, spec: Tensor, y: Tensor, groups: int) -> tuple[Ints, Ints]:
    kernel, axes = node.arrays["weight"].shape[1:-1], len(spec.shape) - 1
    stride, dilation = node.numbers("stride", axes), node.numbers("dilation", axes)
    padding = node.numbers("padding", 2 * axes)
    if not 1 <= axes <= 3 or len(y.shape) != axes + 1:
        raise FormatError(f"{node.name}: a window over {axes} axes of {spec.shape}, declared {y.shape}")
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise FormatError(f"{node.name}: stride {stride}, dilation {dilation}, padding {padding}")
    reached_by_tap: list[list[set[bool]]] = []
    for axis in range(axes):
        size, before, after = spec.shape[axis], padding[2 * axis], padding[2 * axis + 1]
        starts = range(-before, size + after - (kernel[axis] - 1) * dilation[axis], stride[axis])
        if len(starts) != y.shape[axis]:
            raise FormatError(f"{node.name}: {len(starts)} windows along axis {axis}, declared {y.shape[axis]}")
        reached_by_tap.append([_lies_inside(starts, size, tap * dilation[axis]) for tap in range(kernel[axis])])
    lo, hi = x.lo.reshape(groups, -1), x.hi.reshape(groups, -1)
    ends: tuple[list[Ints], list[Ints]] = ([], [])
    for tap in product(*reached_by_tap):
        low, high = lo, hi
        if any(False in axis for axis in tap):
            low, high = np.minimum(lo, spec.zero), np.maximum(hi, spec.zero)
        if any(True not in axis for axis in tap):
            low = high = np.full_like(lo, spec.zero)
        ends[0].append(low)
        ends[1].append(high)
    return np.concatenate(ends[0], axis=1), np.concatenate(ends[1], axis=1)


def _lies_inside(starts: range, size: int, tap: int) -> set[bool]:
    """Whether some window's tap lies inside the image, whether some lies outside."""
    inside = bisect_left(starts, size - tap) - bisect_left(starts, -tap)
    return {is_inside for is_inside, count in ((True, inside), (False, len(starts) - inside)) if count}


def derive(layer: SummingLayer) -> Sums:
    """The 32-bit sums of a layer."""
    raw, weights = _ends(layer, layer.lo, layer.hi)
    reach_zero = bool(np.all(layer.lo <= 0)) and bool(np.all(layer.hi >= 0))
    partial = raw if reach_zero else _ends(layer, np.minimum(layer.lo, 0), np.maximum(layer.hi, 0))[0]
    folded = layer.bias - layer.zero * weights
    return Sums(raw + folded[:, None], raw, partial, folded)


def leaves_s32(sums: Sums) -> list[tuple[str, int, int, int]]:
    """What a kernel may hold that 32 bits may not: (what, output, least, most)."""
    low, high = sums.raw_partial.T
    held_sums = {
        "the folded bias": (sums.folded_bias, sums.folded_bias),
        "a partial sum": (low, high),
        "a partial sum with bias": (low + sums.folded_bias, high + sums.folded_bias),
    }
    wrong = []
    for quantity, (least, most) in held_sums.items():
        for output in np.nonzero((least < S32[0]) | (most > S32[1]))[0]:
            wrong.append((quantity, int(output), int(least[output]), int(most[output])))
    return wrong


def _ends(layer: SummingLayer, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
    """(N, 2) ends of sum w * x for x in [lo, hi], and (N,) sums of w.

    |w| <= 255 and 0 <= lo <= hi <= 255, so no sum exceeds K * 255 * 510: below 2**31 for K <= 16512, and below 2**61
    for what ``summing_layer`` lets through.
    """
    outputs, terms = layer.weight.shape
    dtype = narrowest(terms * 255 * 510)
    twice_centre, reach = (lo + hi).astype(dtype), (hi - lo).astype(dtype)
    centre, radius, weights = np.empty((3, outputs), np.int64)
    rows = max(1, BLOCK // terms)
    for begin in range(0, outputs, rows):
        part = slice(begin, begin + rows)
        block = layer.weight[part].astype(dtype)
        read = slice(None) if len(lo) == 1 else np.arange(outputs)[part] // (outputs // len(lo))
        weights[part] = block.sum(axis=1, dtype=dtype)
        centre[part] = _dot(block, twice_centre[read])
        radius[part] = _dot(np.abs(block, out=block), reach[read])
    return np.stack([(centre - radius) // 2, (centre + radius) // 2], axis=1), weights


def _dot(weight: NDArray[Integer], x: NDArray[Integer]) -> NDArray[Integer]:
    """(n, K) with (1 or n, K): (n,)."""
    return np.einsum("nk,k->n", weight, x[0]) if len(x) == 1 else np.einsum("nk,nk->n", weight, x)


def narrowest(reach: int) -> type[np.int32 | np.int64]:
    """The type of sums of magnitude ``reach`` at most."""
    return np.int32 if reach < 1 << 31 else np.int64


def lane_ends(
    packed: NDArray[np.int8], lo: NDArray[Integer], hi: NDArray[Integer], step_index: Ints, model: Register
) -> Lanes:
    """What each of S executed steps adds.

    Args:
        packed: (S, tile_n, step).
        lo: (step, 1 or tile_n, S) of a type that holds twice any lane of any run.
        hi: likewise.
        step_index: (S,) which step of the packed order of K each one is.
        model: of the register.
    """
    weight = packed.transpose(2, 1, 0).astype(lo.dtype, order="C")
    centre = _groups(weight * (lo + hi), model.group)
    np.abs(weight, out=weight)
    np.multiply(weight, hi - lo, out=weight)
    radius = _groups(weight, model.group)
    low, high = centre - radius, np.add(centre, radius, out=centre)
    least = most = None
    if model.groups_must_fit:
        least, most = low.min(axis=(0, 1)), high.max(axis=(0, 1))
    if model.counts_partial_sums:
        np.minimum(low, 0, out=low)
        np.maximum(high, 0, out=high)
    return Lanes(_lanes(low, step_index, model), _lanes(high, step_index, model), least, most)


def _groups(products: NDArray[Integer], group: int) -> NDArray[Integer]:
    """(step, ...) to (step / group, ...): sums of neighbours."""
    if group == 1:
        return products
    return products.reshape(-1, group, *products.shape[1:]).sum(axis=1, dtype=products.dtype)


def _lanes(groups: NDArray[Integer], step_index: Ints, model: Register) -> NDArray[Integer]:
    """(groups, tile_n, S) to (lanes, tile_n, S): every group is added to its lane."""
    by_phase = lane_table(model)
    sums = np.zeros((model.lanes, *groups.shape[1:]), groups.dtype)
    if (by_phase == by_phase[0]).all():
        for group, lane in enumerate(by_phase[0]):
            sums[lane] += groups[group]
        return sums
    rows, row_of_phase = np.unique(by_phase, axis=0, return_inverse=True)
    row_of = row_of_phase.reshape(-1)[step_index % model.lanes]
    for row, lanes in enumerate(rows):
        columns = np.nonzero(row_of == row)[0]
        for group, lane in enumerate(lanes):
            sums[lane][:, columns] += groups[group][:, columns]
    return sums


def lane_table(model: Register) -> Ints:
    """Lane of every group of a step, from the packed place k of its first product: (lanes, step / group).

    Row f is that of the steps f, f + lanes, f + 2 * lanes...: as many steps hold a multiple of ``lanes`` groups.
    """
    first_product = np.arange(model.lanes * model.step)[:: model.group]
    return (first_product // model.group % model.lanes).reshape(model.lanes, -1)
