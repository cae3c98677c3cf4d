"""The bound: a Lagrangian over exact staircases, evaluated backwards through the network.

For any multipliers mu of the equations acc = W h + b, the greatest value of a linear objective over the set is at most

    D(mu) = sum_l [ mu_l * b_l + sum_k max over (acc, y) of (v_k y - mu_k acc) ] + max over x of v_0 x,

where v_h = W^T mu adds up over the readers of h. Whatever mu is, D is a bound; choosing mu only makes it good.
Derivation: ``docs/math/robustness.md``, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from oaq.robust.network import Lookups, Maxima, Moves, Network, Products, Sums
from oaq.robust.ranges import Ranges
from oaq.robust.staircase import Ints, Points, Reals

Multipliers = dict[int, Reals]
"""Multipliers by layer: (B, K) for ``Sums`` and ``Lookups``, (B, K * taps) for ``Maxima``."""
EXACT = 2.0**53
STAIRCASE_CORNERS = 4


@dataclass(frozen=True, eq=False)
class Relaxed:
    """What the bound needs of a set: its box and the corners of every relation over its ranges.

    Attributes:
        network: what is bounded.
        ranges: over the set; B rows, or one that serves every row.
        points: corners of each layer that has them.
        needed: layers that count.
    """

    network: Network
    ranges: Ranges
    points: Mapping[int, Points]
    needed: frozenset[int]


@dataclass(frozen=True, eq=False)
class Value:
    """A bound, and where its inner maxima lie.

    Attributes:
        bound: (B,).
        size: (B,) sum of the magnitudes of all terms: below 2**53, integers were added exactly.
        slopes: v of each tensor, (B, K).
        corner: (B, inputs) the input at which the last maximum is reached.
        accumulators: acc* of each layer with multipliers.
        values: y* of each tensor.
    """

    bound: Reals
    size: Reals
    slopes: list[Reals | None]
    corner: Reals
    accumulators: dict[int, Reals]
    values: list[Reals | None]


def relax(network: Network, ranges: Ranges, needed: frozenset[int]) -> Relaxed:
    """Corners of every relation over ``ranges``."""
    points = {}
    for at in sorted(needed):
        layer, acc = network.layers[at], ranges.accumulators[at]
        if isinstance(layer, Sums | Lookups):
            assert acc is not None
            points[at] = layer.steps.points(*acc)
            if isinstance(layer, Sums) and layer.law is not None:
                points[at] = _clipped(points[at], ranges.tensors[layer.output])
    return Relaxed(network, ranges, points, needed)


def _clipped(points: Points, y: tuple[Ints, Ints]) -> Points:
    """Values beyond the image of the operator's own law cannot occur."""
    above, below = ((ends[0], np.clip(ends[1], y[0], y[1]).astype(np.float64)) for ends in (points.above, points.below))
    return Points(above, below, points.slack)


def evaluate(relaxed: Relaxed, tops: Multipliers, multipliers: Multipliers, rows: int) -> Value:
    """D for ``rows`` objectives at once.

    Args:
        relaxed: the set.
        tops: the objective: weights on the accumulators of these layers, (B, K); their relations play no part.
        multipliers: of the layers below.
        rows: B.
    """
    network = relaxed.network
    slopes: list[Reals | None] = [None] * len(network.sizes)
    values: list[Reals | None] = [None] * len(network.sizes)
    bound, size = np.zeros(rows), np.zeros(rows)
    best: dict[int, Reals] = {}
    for at in sorted(relaxed.needed, reverse=True):
        layer = network.layers[at]
        v = slopes[layer.output]
        match layer:
            case Sums():
                mu = np.zeros((rows, network.sizes[layer.output]))
                if v is not None:
                    mu = multipliers[at]
                    best[at], values[layer.output], worth = _inner(relaxed.points[at], v, mu)
                    _gain(bound, size, worth)
                mu = mu + tops[at] if at in tops else mu
                _gain(bound, size, mu * layer.bias)
                for tensor, linear in zip(layer.inputs, layer.maps, strict=True):
                    _pile(slopes, tensor, linear.transposed(mu))
            case Lookups() if v is not None:
                mu = multipliers[at]
                best[at], values[layer.output], worth = _inner(relaxed.points[at], v, mu)
                _gain(bound, size, worth)
                _pile(slopes, layer.inputs[0], mu)
            case Moves() if v is not None:
                _pile(slopes, layer.inputs[0], _moved_back(v, layer.index, network.sizes[layer.inputs[0]]))
            case Maxima() if v is not None:
                best[at], values[layer.output], worth, back = _maximum(relaxed, at, v, multipliers[at])
                _gain(bound, size, worth)
                _pile(slopes, layer.inputs[0], back)
            case Products() if v is not None:
                lo, hi = relaxed.ranges.tensors[layer.output]
                _gain(bound, size, np.where(v > 0, hi, lo) * v)
    v = slopes[0]
    lo, hi = relaxed.ranges.tensors[0]
    v = np.zeros((rows, network.sizes[0])) if v is None else v
    corner = np.where(v > 0, hi, lo).astype(np.float64)
    _gain(bound, size, corner * v)
    return Value(bound, size, slopes, corner, best, values)


def _inner(points: Points, v: Reals, mu: Reals) -> tuple[Reals, Reals, Reals]:
    """The greatest v * y - mu * acc of every element: acc*, y*, worth."""
    up = v >= 0
    acc = np.where(up, points.above[0], points.below[0])
    y = np.where(up, points.above[1], points.below[1])
    worth = v * y - mu * acc
    choice = worth.argmax(axis=0)[None]
    acc, y, worth = (np.take_along_axis(part, choice, 0)[0] for part in (acc, y, worth))
    return acc, y, worth + np.abs(mu) * points.slack


def _maximum(relaxed: Relaxed, at: int, v: Reals, mu: Reals) -> tuple[Reals, ...]:
    """The greatest v * max_i x_i - sum_i mu_i x_i of every window: x*, y*, worth, and mu gathered by input element.

    v >= 0: the greatest over i of (v - mu_i) x_i + sum of the others' -mu_k x_k. v < 0: the maximum is at least x_g, g
    the operand of greatest lower end.
    """
    layer, network = relaxed.network.layers[at], relaxed.network
    assert isinstance(layer, Maxima)
    lo, hi = relaxed.ranges.tensors[layer.inputs[0]]
    inside = layer.index >= 0
    low, high = (np.where(inside, end[:, layer.index], layer.least).astype(np.float64) for end in (lo, hi))
    mu = mu.reshape(mu.shape[0], *layer.index.shape) * inside
    alone = np.where(mu > 0, low, high)
    worth = -mu * alone
    raised = (v[..., None] - mu) * np.where(v[..., None] > mu, high, low)
    sunk = low.argmax(axis=-1)[..., None]
    rises = raised - worth
    selected = np.where(v[..., None] >= 0, rises.argmax(axis=-1)[..., None], sunk)
    chosen_x = np.take_along_axis(np.where(v[..., None] > mu, high, low), selected, -1)
    total = worth.sum(axis=-1) + np.take_along_axis(rises, selected, -1)[..., 0]
    star = alone.copy()
    np.put_along_axis(star, selected, chosen_x, -1)
    back = _moved_back(mu.reshape(mu.shape[0], -1), layer.index.ravel(), network.sizes[layer.inputs[0]])
    return star.reshape(star.shape[0], -1), chosen_x[..., 0], total, back


def _moved_back(v: Reals, index: Ints, size: int) -> Reals:
    """The transpose of a selection."""
    result = np.zeros((v.shape[0], size))
    inside = index >= 0
    for row in range(v.shape[0]):
        result[row] = np.bincount(index[inside], v[row, inside], size)
    return result


def _gain(bound: Reals, size: Reals, terms: Reals) -> None:
    bound += terms.sum(axis=1)
    size += np.abs(terms).sum(axis=1)


def _pile(slopes: list[Reals | None], tensor: int, v: Reals) -> None:
    before = slopes[tensor]
    slopes[tensor] = v if before is None else before + v


def gradient(relaxed: Relaxed, value: Value) -> Multipliers:
    """DD / dmu of every layer: the accumulators that the maxima below imply, less those of its own maximum."""
    network = relaxed.network
    values = list(value.values)
    values[0] = value.corner
    result: Multipliers = {}
    for at in sorted(relaxed.needed):
        layer = network.layers[at]
        operands = [_present(values[t], relaxed, t, value) for t in layer.inputs]
        match layer:
            case Sums() if at in value.accumulators:
                implied = layer.bias[None, :]
                for operand, linear in zip(operands, layer.maps, strict=True):
                    implied = implied + linear.forward(operand)
                result[at] = implied - value.accumulators[at]
            case Lookups() if at in value.accumulators:
                result[at] = operands[0] - value.accumulators[at]
            case Moves():
                values[layer.output] = np.where(layer.index >= 0, operands[0][:, layer.index], 0.0)
            case Maxima() if at in value.accumulators:
                windows = np.where(layer.index >= 0, operands[0][:, layer.index], layer.least)
                star = value.accumulators[at]
                result[at] = (windows.reshape(star.shape) - star) * (layer.index >= 0).ravel()
            case _:
                pass
    return result


def _present(values: NDArray | None, relaxed: Relaxed, tensor: int, value: Value) -> Reals:
    """Values of a tensor at the inner maxima; of one without any, the ends that its slope prefers."""
    if values is not None:
        return values
    lo, hi = relaxed.ranges.tensors[tensor]
    v = value.slopes[tensor]
    return np.where(v > 0, hi, lo).astype(np.float64) if v is not None else np.broadcast_to(lo, lo.shape) * 1.0


def start(relaxed: Relaxed, tops: Multipliers, rows: int) -> Multipliers:
    """First multipliers: v times the slope of the hull's edge above the middle of each range."""
    network = relaxed.network
    slopes: list[Reals | None] = [None] * len(network.sizes)
    selected: Multipliers = {}
    for at in sorted(relaxed.needed, reverse=True):
        layer = network.layers[at]
        v = slopes[layer.output]
        match layer:
            case Sums():
                mu = np.zeros((rows, network.sizes[layer.output]))
                if v is not None:
                    mu = selected[at] = v * _edge(relaxed.points[at], v)
                mu = mu + tops[at] if at in tops else mu
                for tensor, linear in zip(layer.inputs, layer.maps, strict=True):
                    _pile(slopes, tensor, linear.transposed(mu))
            case Lookups() if v is not None:
                selected[at] = v * _edge(relaxed.points[at], v)
                _pile(slopes, layer.inputs[0], selected[at])
            case Moves() if v is not None:
                _pile(slopes, layer.inputs[0], _moved_back(v, layer.index, network.sizes[layer.inputs[0]]))
            case Maxima() if v is not None:
                selected[at] = _leader(relaxed, layer, v)
                back = _moved_back(selected[at], layer.index.ravel(), network.sizes[layer.inputs[0]])
                _pile(slopes, layer.inputs[0], back)
            case _:
                pass
    return selected


def _leader(relaxed: Relaxed, layer: Maxima, v: Reals) -> Reals:
    """All of v on the operand of greatest lower end, where it falls or where that operand always wins; else none."""
    lo, hi = relaxed.ranges.tensors[layer.inputs[0]]
    inside = layer.index >= 0
    low, high = (np.where(inside, end[:, layer.index], layer.least - 1) for end in (lo, hi))
    leader = low.argmax(axis=-1)[..., None]
    competitors = high.copy()
    np.put_along_axis(competitors, leader, layer.least - 1, -1)
    wins = np.take_along_axis(low, leader, -1)[..., 0] >= competitors.max(axis=-1)
    mu = np.zeros((v.shape[0], *layer.index.shape))
    weight = np.where((v < 0) | wins, v, 0.0)[..., None]
    np.put_along_axis(mu, np.broadcast_to(leader, (v.shape[0], *leader.shape[1:])), weight, -1)
    return (mu * inside).reshape(v.shape[0], -1)


def _edge(points: Points, v: Reals) -> Reals:
    """Slope of the hull above (v > 0) or below the middle of the range: that of the outermost chord over it."""
    up = v >= 0
    acc = np.where(up, points.above[0], points.below[0])
    y = np.where(up, points.above[1], points.below[1])
    middle = 0.5 * (acc[0] + acc[-1])
    best, slope = np.full(v.shape, -np.inf), np.zeros(v.shape)
    few = len(acc) <= STAIRCASE_CORNERS  # a table's corners are a hull in order: neighbours are its edges
    pairs = combinations(range(len(acc)), 2) if few else pairwise(range(len(acc)))
    for first, last in pairs:
        run = acc[last] - acc[first]
        rate = (y[last] - y[first]) / np.maximum(run, 1.0)
        height = np.where(up, 1.0, -1.0) * (y[first] + rate * (middle - acc[first]))
        better = (run > 0) & (acc[first] <= middle) & (middle <= acc[last]) & (height > best)
        best, slope = np.where(better, height, best), np.where(better, rate, slope)
    return slope
