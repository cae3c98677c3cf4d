"""Cases, trees and leaves, for the checker of robustness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Arrays
from oaq.checker.robust_bounds import Spans, bound
from oaq.checker.robust_layers import Box, Layered, Reading, Summing, decided_by
from oaq.checker.robust_maps import Ints
from oaq.checker.robust_steps import Steps
from oaq.errors import FormatError

MOST_BITS = 30
BATCH = 32
WIDE = 1 << 61
INPUT, CORNERS = -1, -2
"""Operation numbers of splits of an input element, and of a case's corners by value."""


@dataclass(frozen=True, eq=False)
class Claims:
    """A certificate's header and arrays, and which arrays have been looked at."""

    header: Mapping[str, Any]
    arrays: Arrays
    used: set[str]
    keys: set[str]

    def take(self, name: str, ndim: int) -> NDArray[np.int64]:
        """An array of integers of that rank, as int64."""
        self.used.add(name)
        value = self.arrays[name]
        if value.dtype.kind not in "iub" or value.ndim != ndim:
            raise FormatError(f"{name}: is {ndim}-d integers, not {value.dtype} of shape {value.shape}")
        return value.astype(np.int64)

    def multipliers(self, place: str, network: Layered, rows: int) -> dict[int, Ints]:
        """Multipliers by layer, (rows, K)."""
        by_layer = {}
        for name in sorted(self.arrays):
            if name.startswith(f"{place}/mu/"):
                layer = int(name.rpartition("/")[2])
                value = self.take(name, 2)
                if not 0 <= layer < len(network.layers) or value.shape[0] != rows or name != f"{place}/mu/{layer}":
                    raise FormatError(f"{name}: does not fit a layer and {rows} rows")
                by_layer[layer] = value
        return by_layer


def check_cases(claims: Claims, network: Layered, box: Box, sums: bool) -> list[str]:
    """Every case of every other output.

    Returns:
        what does not hold.
    """
    header = claims.header
    if set(header) != claims.keys | {"proof", "bits", "cases", "ranges"}:
        return ["has other fields than a proof by multipliers"]
    bits = header["bits"]
    if type(bits) is not int or not 0 <= bits <= MOST_BITS:
        raise FormatError(f"multipliers are integers of 2**-0 to 2**-{MOST_BITS}, not 2**-{str(bits)[:20]}")
    limits, wrong = claimed_ranges(claims, network, box, bits)
    if wrong:
        return wrong
    layer, element = decided_by(network.layers, network.output, network.sizes)
    span = Spans(network, box, limits, len(network.layers) - 1)
    label = header["label"]
    covered: dict[int, list[tuple[int, int]]] = {}
    for case in header["cases"]:
        if set(case) != {"against", "first", "last"} or any(type(value) is not int for value in case.values()):
            raise FormatError("a case names an output and two values")
        covered.setdefault(case["against"], []).append((case["first"], case["last"]))
    rows = _Rows(network, layer, element, span, sums)
    for rival in range(len(element)):
        if rival != label:
            missing = rows.uncovered(rival, label, covered.get(rival, []))
            if missing is not None:
                return [f"no case covers output {rival} winning at value {missing}"]
    for at, case in enumerate(header["cases"]):
        fault = _check_tree(claims, (network, box, limits, bits), rows.case(case, label), f"cases/{at}")
        if fault:
            return [f"case {at}, against output {case['against']}: {fault}"]
    return []


@dataclass(frozen=True, eq=False)
class _Case:
    """A violation: acc[up] >= floor[q] and acc[down] <= ceiling[q] for some q."""

    layer: int
    up: int
    down: int
    value: list[int]
    floor: list[int]
    ceiling: list[int]
    sums: bool


class _Rows:
    """Corners of every rival from the output layer's own steps."""

    def __init__(self, network: Layered, layer: int, element: Ints, span: Spans, sums: bool) -> None:
        self.layer, self.element, self.sums = layer, element, sums
        summing = network.layers[layer]
        assert isinstance(summing, Summing)
        self.steps: Steps = summing.steps
        self.lo, self.hi = (end[0] for end in span.accumulators[layer])

    def corner(self, rival: int, label: int, value: int) -> tuple[int, int] | None:
        """Least accumulator of the rival and greatest of the label with y_label = value and the rival winning."""
        up, down = int(self.element[rival]), int(self.element[label])
        goal = value + (1 if rival > label else 0)
        index, at = goal - self.steps.low, value - self.steps.low
        count = self.steps.first.shape[1]
        floor, ceiling = int(self.lo[up]), int(self.hi[down])
        if index >= count:
            return None
        if index > 0:
            floor = max(floor, int(self.steps.first[self.steps.owner[up], index]))
        ceiling = min(ceiling, int(self.steps.last[self.steps.owner[down], at]))
        return None if floor > int(self.hi[up]) or ceiling < int(self.lo[down]) else (floor, ceiling)

    def uncovered(self, rival: int, label: int, spans: list[tuple[int, int]]) -> int | None:
        """A value of the label at which the rival could win and that no case covers."""
        if self.sums:
            up, down = int(self.element[rival]), int(self.element[label])
            possible = int(self.hi[up]) - int(self.lo[down]) >= (1 if rival > label else 0)
            return 0 if possible and (0, 0) not in spans else None
        for value in self.steps.values:
            inside = any(first <= value <= last for first, last in spans)
            if not inside and self.corner(rival, label, int(value)) is not None:
                return int(value)
        return None

    def case(self, claim: Mapping[str, int], label: int) -> _Case:
        """The corners that a case covers."""
        rival = claim["against"]
        if not 0 <= rival < len(self.element) or rival == label:
            raise FormatError(f"a case against output {rival}")
        up, down = int(self.element[rival]), int(self.element[label])
        if self.sums:
            return _Case(self.layer, up, down, [0], [1 if rival > label else 0], [0], True)
        first = max(claim["first"], self.steps.low)
        last = min(claim["last"], self.steps.low + self.steps.first.shape[1] - 1)
        corners = {value: self.corner(rival, label, value) for value in range(first, last + 1)}
        possible = {value: corner for value, corner in corners.items() if corner is not None}
        floor, ceiling = ([corner[side] for corner in possible.values()] for side in (0, 1))
        return _Case(self.layer, up, down, list(possible), floor, ceiling, False)


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


def _check_tree(
    claims: Claims, setting: tuple[Layered, Box, Mapping[int, Box], int], case: _Case, place: str
) -> str | None:
    network, box, limits, bits = setting
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
            fault = _check_leaves(pending, (network, box, limits, bits), case, (row_of, weights, mus))
            if fault:
                return fault
            pending = []
    if set(row_of) and not case.floor:
        raise FormatError(f"{place}: a case without corners has no leaves")
    return _check_leaves(pending, (network, box, limits, bits), case, (row_of, weights, mus)) if pending else None


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
    case: _Case,
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
    top = np.zeros((len(alive), network.sizes[case.layer + 1]), np.int64)
    at = np.arange(len(alive))
    np.add.at(top, (at, np.full(len(alive), case.up)), up)
    np.add.at(top, (at, np.full(len(alive), case.down)), -down)
    _keep(span, alive)
    values = bound(network, span, {case.layer: top}, {layer: mu[rows] for layer, mu in mus.items()})
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
