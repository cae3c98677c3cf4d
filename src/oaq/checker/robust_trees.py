"""Trees of splits and the multipliers of their leaves, and ranges that multipliers narrow, for the checker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oaq.checker.robust_bounds import Spans, bound
from oaq.checker.robust_claims import MOST_BITS, Claims
from oaq.checker.robust_layers import Box, Layered, Reading, Summing
from oaq.checker.robust_maps import Ints
from oaq.errors import FormatError

BATCH = 32
WIDE = 1 << 61
INPUT, CORNERS = -1, -2
"""Layer numbers of splits of an input element, and of a case's corners by value."""
Place = tuple[int, int]
"""Layer and element of an accumulator."""


@dataclass(frozen=True, eq=False)
class Case:
    """A violation: acc at ``up`` >= floor[q] and acc at ``down`` <= ceiling[q] for some q.

    Attributes:
        up: where the greater accumulator is.
        down: where the smaller one is.
        value: of each corner, centred.
        floor: least accumulator at ``up``.
        ceiling: greatest accumulator at ``down``.
        sums: accumulators are compared, with one weight for both.
    """

    up: Place
    down: Place
    value: list[int]
    floor: list[int]
    ceiling: list[int]
    sums: bool


def claimed_ranges(claims: Claims, network: Layered, box: Box, bits: int) -> tuple[dict[int, Box], list[str]]:
    """Box that multipliers narrow, each checked on those before it."""
    limits: dict[int, Box] = {}
    for at, claim in enumerate(claims.header["ranges"]):
        place, layer = f"ranges/{at}", claim["layer"]
        if set(claim) != {"layer"} or type(layer) is not int or not 0 <= layer < len(network.layers) or layer in limits:
            raise FormatError(f"{place}: names no layer, or one twice")
        summing = network.layers[layer]
        if not isinstance(summing, Summing):
            raise FormatError(f"{place}: layer {layer} sums nothing")
        element, upper, end = (claims.take(f"{place}/{name}", 1) for name in ("element", "upper", "end"))
        mus = claims.multipliers(place, network, len(element))
        span = Spans(network, box, limits, layer)
        lo, hi = (ends[0].copy() for ends in span.accumulators[layer])
        for begin in range(0, len(element), BATCH):
            rows = slice(begin, begin + BATCH)
            count = len(element[rows])
            sign = np.where(upper[rows] != 0, 1, -1)
            top = np.zeros((count, network.sizes[layer + 1]), np.int64)
            top[np.arange(count), element[rows]] = sign << bits
            part = {low: mu[rows] for low, mu in mus.items()}
            bounds = bound(network, _repeated(network, box, limits, (count, layer)), {layer: top}, part)
            for row, value in enumerate(bounds):
                claimed = int(sign[row]) * int(end[rows][row])
                if value >> bits > claimed:
                    return {}, [f"{place}, element {int(element[rows][row])}: {claimed} is not an end: {value >> bits}"]
        np.minimum.at(hi, element[upper != 0], end[upper != 0])
        np.maximum.at(lo, element[upper == 0], end[upper == 0])
        limits[layer] = (lo[None], hi[None])
    return limits, []


def _repeated(network: Layered, box: Box, limits: Mapping[int, Box], size: tuple[int, int]) -> Spans:
    rows, last = size
    many = (np.repeat(box[0], rows, axis=0), np.repeat(box[1], rows, axis=0))
    return Spans(network, many, limits, last)


def check_tree(
    claims: Claims, setting: tuple[Layered, Box, Mapping[int, Box], int], case: Case, place: str
) -> str | None:
    """Whether every leaf of a case's tree is closed.

    Args:
        claims: that hold the tree.
        setting: network, set, proved ranges, scale of the multipliers.
        case: what has to be impossible.
        place: prefix of the tree's arrays.

    Returns:
        what does not hold; None if all does.
    """
    network = setting[0]
    splits = claims.take(f"{place}/splits", 2)
    leaves = claims.take(f"{place}/leaves", 1)
    weights = claims.take(f"{place}/weights", 2)
    mus = claims.multipliers(place, network, len(leaves))
    if splits.shape[1:] != (5,) or weights.shape != (len(leaves), 2):
        raise FormatError(f"{place}: splits are rows of 5, weights rows of 2")
    row_of = {int(leaf): row for row, leaf in enumerate(leaves)}
    if len(row_of) != len(leaves):
        raise FormatError(f"{place}: a leaf twice")
    pending: list[tuple[int, list[tuple[int, int, int, bool]]]] = []
    for leaf in _walk(splits, network):
        pending.append(leaf)
        if len(pending) == BATCH:
            fault = _check_leaves(pending, setting, case, (row_of, weights, mus))
            if fault:
                return fault
            pending = []
    if set(row_of) and not case.floor:
        raise FormatError(f"{place}: a case without corners has no leaves")
    return _check_leaves(pending, setting, case, (row_of, weights, mus)) if pending else None


def _walk(splits: Ints, network: Layered) -> Iterator[tuple[int, list[tuple[int, int, int, bool]]]]:
    """Every leaf with the splits that lead to it; each node is reached once."""
    stack: list[tuple[int, list[tuple[int, int, int, bool]]]] = [(0, [])]
    span = 0
    while stack:
        node, path = stack.pop()
        span += 1
        if not 0 <= node < len(splits) or span > len(splits):
            raise FormatError("a tree's children lie in its table, each below one parent")
        layer, element, threshold, left, right = (int(value) for value in splits[node])
        if left == -1:
            yield node, path
            continue
        size = network.sizes[0] if layer == INPUT else 1 if layer == CORNERS else _accumulators(network, layer)
        if not 0 <= element < size or left <= node or right <= node:
            raise FormatError(f"split {node}: element {element} of layer {layer}, children {left} and {right}")
        stack += [
            (left, [*path, (layer, element, threshold, False)]),
            (right, [*path, (layer, element, threshold, True)]),
        ]


def _accumulators(network: Layered, layer: int) -> int:
    if not 0 <= layer < len(network.layers) or not isinstance(network.layers[layer], Summing | Reading):
        raise FormatError(f"a split of layer {layer}, which has no accumulators")
    return network.sizes[layer + 1]


def _check_leaves(
    pending: list[tuple[int, list[tuple[int, int, int, bool]]]],
    setting: tuple[Layered, Box, Mapping[int, Box], int],
    case: Case,
    proofs: tuple[Mapping[int, int], Ints, Mapping[int, Ints]],
) -> str | None:
    network, box, limits, bits = setting
    row_of, weights, mus = proofs
    count = len(pending)
    ends, cut = _cut(pending, (network, box, limits))
    span = Spans(network, ends, cut, len(network.layers) - 1)
    alive = [row for row in range(count) if not span.empty[row]]
    if any(pending[row][0] not in row_of for row in alive):
        return "a leaf that is not empty has no multipliers"
    if not alive or not case.floor:
        return None
    rows = np.array([row_of[pending[row][0]] for row in alive])
    up, down = weights[rows, 0], weights[rows, 1]
    if (
        (up < 0).any()
        or (down < 0).any()
        or (up + down == 0).any()
        or max(int(up.max()), int(down.max())) > 1 << MOST_BITS
    ):
        raise FormatError("weights are not negative, not both 0 and at most 2**30")
    if case.sums and (up != down).any():
        raise FormatError("sums are compared with one weight")
    tops: dict[int, Ints] = {}
    for (layer, element), weight in ((case.up, up), (case.down, -down)):
        top = tops.setdefault(layer, np.zeros((len(alive), network.sizes[layer + 1]), np.int64))
        top[:, element] += weight
    _keep(span, alive)
    values = bound(network, span, tops, {layer: mu[rows] for layer, mu in mus.items()})
    for row, value in enumerate(values):
        supports = [
            int(down[row]) * ceiling - int(up[row]) * floor
            for at_value, floor, ceiling in zip(case.value, case.floor, case.ceiling, strict=True)
            if _keeps(pending[alive[row]][1], at_value)
        ]
        support = max(supports, default=None)
        if support is not None and value + support >= 0:
            return f"leaf {pending[alive[row]][0]} reaches {value + support}, not less than 0 (scale 2**{bits})"
    return None


def _cut(
    pending: list[tuple[int, list[tuple[int, int, int, bool]]]], setting: tuple[Layered, Box, Mapping[int, Box]]
) -> tuple[Box, dict[int, Box]]:
    """Box and limits of each leaf, cut by its path."""
    network, box, limits = setting
    count = len(pending)
    ends = (np.repeat(box[0], count, axis=0), np.repeat(box[1], count, axis=0))
    cut = {layer: (np.repeat(lo, count, axis=0), np.repeat(hi, count, axis=0)) for layer, (lo, hi) in limits.items()}
    for row, (_, path) in enumerate(pending):
        for layer, element, threshold, above in path:
            if layer == CORNERS:
                continue
            if layer >= 0 and layer not in cut:
                wide = np.full((count, _accumulators(network, layer)), WIDE, np.int64)
                cut[layer] = (-wide, wide)
            lo, hi = ends if layer < 0 else cut[layer]
            if above:
                lo[row, element] = max(int(lo[row, element]), threshold)
            else:
                hi[row, element] = min(int(hi[row, element]), threshold - 1)
    return ends, cut


def _keeps(path: list[tuple[int, int, int, bool]], value: int) -> bool:
    """Whether a corner of that value is on the path's side of every split of corners."""
    return all((value >= threshold) == above for layer, _, threshold, above in path if layer == CORNERS)


def _keep(span: Spans, alive: list[int]) -> None:
    span.tensors = [(lo[alive], hi[alive]) for lo, hi in span.tensors]
    span.accumulators = {layer: (lo[alive], hi[alive]) for layer, (lo, hi) in span.accumulators.items()}
    span.empty = span.empty[alive]
