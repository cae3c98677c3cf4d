"""Looking for a counterexample: sign steps on a margin of accumulators, rounding passed through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oaq.robust.cases import Pair
from oaq.robust.network import Lookups, Maxima, Moves, Network, Operation, Sums, Trace, trace
from oaq.robust.ranges import Range
from oaq.robust.staircase import Ints, Reals

RIVALS = 6
"""Rivals attacked at once: those nearest to winning at the centre."""


def violated(network: Network, outcome: Trace, pairs: Sequence[Pair]) -> Ints:
    """(B,): the first pair that each row violates; -1 for none."""
    result = np.full(len(outcome.tensors[0]), -1)
    for at in range(len(pairs) - 1, -1, -1):
        result[margin(network, outcome, pairs[at]) >= pairs[at].theta] = at
    return result


def margin(network: Network, outcome: Trace, pair: Pair) -> Ints:
    """(B,): value up less value down; in accumulators if the pair compares those."""
    sides = []
    for layer_at, element in (pair.up, pair.down):
        values = outcome.accumulators[layer_at] if pair.sums else outcome.tensors[network.layers[layer_at].output]
        assert values is not None
        sides.append(values[:, element])
    return sides[0] - sides[1]


def attack(network: Network, box: Range, pairs: Sequence[Pair], steps: int, seed: int = 0) -> Ints | None:
    """An input of the box (1, inputs) that violates a pair, or None. Nothing depends on time; the seed is fixed.

    Args:
        network: what is attacked.
        box: (1, inputs) both ends.
        pairs: violations looked for.
        steps: sign steps per start.
        seed: of the masks of later starts.
    """
    rng = np.random.default_rng(seed)
    lo, hi = box
    centre = (lo + hi) >> 1
    attacked = _nearest(network, centre, pairs)
    for slope_outside, keep in ((0.0, 1.0), (0.1, 1.0), (0.1, 0.7)):
        x = np.repeat(centre, len(attacked), axis=0)
        for _ in range(steps):
            outcome = trace(network, x)
            hit = violated(network, outcome, pairs)
            if (hit >= 0).any():
                return x[int(np.argmax(hit >= 0))][None]
            slope = _backward(network, outcome, attacked, slope_outside)
            moves = (slope != 0) & (rng.random(x.shape) < keep)
            after = np.where(moves, np.where(slope > 0, hi, lo), x)
            if np.array_equal(after, x):
                break
            x = after
        outcome = trace(network, x)
        hit = violated(network, outcome, pairs)
        if (hit >= 0).any():
            return x[int(np.argmax(hit >= 0))][None]
    return None


def _nearest(network: Network, centre: Ints, pairs: Sequence[Pair]) -> list[Pair]:
    outcome = trace(network, centre)
    size = [_distance(network, outcome, pair) for pair in pairs]
    return [pairs[at] for at in np.argsort(np.negative(size), kind="stable")[:RIVALS]]


def _distance(network: Network, outcome: Trace, pair: Pair) -> float:
    """Margin in accumulators at the scales of the two outputs: integers saturate, sums do not."""
    sides = []
    for layer_at, element in (pair.up, pair.down):
        acc = outcome.accumulators[layer_at]
        assert acc is not None
        sides.append(float(acc[0, element]) * _scale(network.layers[layer_at], element, pair.sums))
    return sides[0] - sides[1]


def _scale(layer: Operation, element: int, sums: bool) -> float:
    return 1.0 if sums or not isinstance(layer, Sums) else _multiplier(layer)[element]


def _multiplier(layer: Sums) -> Reals:
    """(K,): value steps per accumulator step, from the outer thresholds of each class."""
    inner = layer.steps.possible_from[:, 1:-1]
    if not inner.shape[1]:
        return np.zeros(len(layer.steps.classes))
    rise = np.maximum(inner[:, -1] - inner[:, 0], 1)
    return (max(inner.shape[1] - 1, 1) / rise)[layer.steps.classes]


def _backward(network: Network, outcome: Trace, pairs: Sequence[Pair], outside: float) -> Reals:
    """The slope of each row's own margin at the input."""
    rows = len(pairs)
    slopes: dict[int, Reals] = {}
    tops: dict[int, Reals] = {}
    for row, pair in enumerate(pairs):
        for (layer_at, element), sign in ((pair.up, 1.0), (pair.down, -1.0)):
            layer = network.layers[layer_at]
            top = tops.setdefault(layer_at, np.zeros((rows, network.sizes[layer.output])))
            top[row, element] += sign * _scale(layer, element, pair.sums)
    for at in range(len(network.layers) - 1, -1, -1):
        layer = network.layers[at]
        slope = tops.get(at)
        v = slopes.pop(layer.output, None)
        if v is not None and isinstance(layer, Sums):
            acc, value = outcome.accumulators[at], outcome.tensors[layer.output]
            assert acc is not None
            inside = (value > layer.steps.low) & (value < layer.steps.high)
            passed = v * _multiplier(layer) * np.where(inside, 1.0, outside)
            slope = passed if slope is None else slope + passed
        if isinstance(layer, Sums):
            if slope is not None:
                for tensor, linear in zip(layer.inputs, layer.maps, strict=True):
                    slopes[tensor] = slopes.get(tensor, 0.0) + linear.transposed(slope)
        elif v is not None:
            tensor = layer.inputs[0]
            slopes[tensor] = slopes.get(tensor, 0.0) + _through(layer, outcome, v, network.sizes[tensor])
    return slopes.get(0, np.zeros((rows, network.sizes[0])))


def _through(layer: Operation, outcome: Trace, v: Reals, size: int) -> Reals:
    x = outcome.tensors[layer.inputs[0]]
    match layer:
        case Lookups():
            after, before = (
                np.clip(x + move, layer.steps.low, layer.steps.low + layer.steps.values.shape[1] - 1)
                for move in (4, -4)
            )
            rise = layer.steps.largest(after) - layer.steps.largest(before)
            return v * rise / np.maximum(after - before, 1)
        case Moves():
            return _scattered(v, np.broadcast_to(layer.index, v.shape), size)
        case Maxima():
            windows = np.where(layer.index >= 0, x[:, layer.index], layer.least - 1)
            winner = np.take_along_axis(np.broadcast_to(layer.index, windows.shape), windows.argmax(-1)[..., None], -1)
            return _scattered(v, winner[..., 0], size)
        case _:
            return np.zeros((len(v), size))


def _scattered(v: Reals, index: Ints, size: int) -> Reals:
    result = np.zeros((len(v), size))
    for row in range(len(v)):
        inside = index[row] >= 0
        result[row] = np.bincount(index[row][inside], v[row][inside], size)
    return result
