"""Ranges and bounds for the checker of robustness: int64, each product checked to stay inside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from oaq.checker.robust_layers import Box, Largest, Layered, Moving, Reading, Summing
from oaq.checker.robust_maps import Ints
from oaq.errors import FormatError

Limits = Mapping[int, Box]
ROOM = 1 << 62


class Spans:
    """Box of every tensor and accumulator over boxes, a row each.

    Attributes:
        tensors: by tensor.
        accumulators: by layer.
        empty: (B,): no input satisfies the limits.
    """

    def __init__(self, network: Layered, box: Box, limits: Limits, last: int) -> None:
        """Layers up to and including ``last``."""
        self.tensors: list[Box] = [box]
        self.accumulators: dict[int, Box] = {}
        self.empty: NDArray[np.bool_] = np.asarray((box[0] > box[1]).any(axis=1))
        for at, layer in enumerate(network.layers[: last + 1]):
            operands = [self.tensors[tensor] for tensor in layer.inputs]
            if isinstance(layer, Summing | Reading):
                acc = sums(layer, operands) if isinstance(layer, Summing) else operands[0]
                if at in limits:
                    acc = np.maximum(acc[0], limits[at][0]), np.minimum(acc[1], limits[at][1])
                self.accumulators[at] = acc = self._sane(acc)
                y = layer.steps.image(*acc) if isinstance(layer, Summing) else layer.entries.image(*acc)
                if isinstance(layer, Summing) and layer.image is not None:
                    also = layer.image(operands)
                    y = np.maximum(y[0], also[0]), np.minimum(y[1], also[1])
            elif isinstance(layer, Moving):
                y = tuple(np.where(layer.source >= 0, end[:, layer.source], 0) for end in operands[0])
            elif isinstance(layer, Largest):
                y = tuple(_windows(layer, end).max(axis=2) for end in operands[0])
            else:
                y = layer.image(operands)
            self.tensors.append(self._sane((y[0], y[1])))

    def _sane(self, ends: Box) -> Box:
        """Rows with crossed ends hold nothing; made straight so that the rest can be computed."""
        self.empty = self.empty | (ends[0] > ends[1]).any(axis=1)
        return np.minimum(ends[0], ends[1]), ends[1]


def sums(layer: Summing, operands: list[Box]) -> Box:
    """Box of accumulators from ends of operands."""
    least = most = layer.bias[None, :]
    for terms, (lo, hi) in zip(layer.terms, operands, strict=True):
        down, up = terms.ends(lo, hi)
        least, most = least + down, most + up
    return least, most


def _windows(layer: Largest, x: Ints) -> Ints:
    return np.where(layer.windows >= 0, x[:, layer.windows], layer.least)


def bound(network: Layered, span: Spans, tops: Mapping[int, Ints], mus: Mapping[int, Ints]) -> list[int]:
    """The greatest value of the objective, by any multipliers: one exact integer per row.

    Args:
        network: what is bounded.
        span: ranges, as many rows as objectives.
        tops: weights of the objective on accumulators, by layer, (B, K).
        mus: multipliers by layer; a layer without any counts with 0.

    Raises:
        FormatError: multipliers so large that 64 bits might not hold a sum.
    """
    rows = len(span.empty)
    total = [0] * rows
    slopes: dict[int, Ints] = {}
    for at in range(max(tops), -1, -1):
        layer = network.layers[at]
        v = slopes.pop(at + 1, None)
        mu = np.zeros((rows, network.sizes[at + 1]), np.int64)
        if v is not None and isinstance(layer, Summing | Reading):
            mu = mus.get(at, mu)
            ends = span.accumulators[at]
            relation = layer.steps if isinstance(layer, Summing) else layer.entries
            _require_room(v, mu, ends)
            _count(total, relation.gain(v, mu, *ends))
        if isinstance(layer, Summing):
            mu = mu + tops[at] if at in tops else mu
            if mu.any():
                _require_room(mu, mu, (layer.bias[None], layer.bias[None]))
                _count(total, mu * layer.bias)
                for tensor, terms in zip(layer.inputs, layer.terms, strict=True):
                    weight, crowd = terms.most()
                    _require(int(np.abs(mu).max()) * weight * max(crowd, 1))
                    _pile(slopes, tensor, terms.backward(mu))
        elif v is not None and isinstance(layer, Reading):
            _pile(slopes, layer.inputs[0], mu)
        elif v is not None and isinstance(layer, Moving):
            _pile(slopes, layer.inputs[0], _back(v, layer.source, network.sizes[layer.inputs[0]]))
        elif v is not None and isinstance(layer, Largest):
            _maximum(network, span, (at, v, mus.get(at)), (total, slopes))
        elif v is not None:
            lo, hi = span.tensors[at + 1]
            _require_room(v, v, (lo, hi))
            _count(total, np.maximum(v * lo, v * hi))
    v = slopes.pop(0, None)
    if v is not None:
        lo, hi = span.tensors[0]
        _require_room(v, v, (lo, hi))
        _count(total, np.maximum(v * lo, v * hi))
    return total


def _maximum(
    network: Layered,
    span: Spans,
    part: tuple[int, Ints, Ints | None],
    sinks: tuple[list[int], dict[int, Ints]],
) -> None:
    """V * max x - sum mu_i x_i over boxes: the greatest over who is the maximum, or, for v < 0, max x >= each x_i.

    For v < 0 the operand of greatest lower end stands for the maximum.
    """
    at, v, mu = part
    layer = network.layers[at]
    assert isinstance(layer, Largest)
    lo, hi = (_windows(layer, end) for end in span.tensors[layer.inputs[0]])
    weights = np.zeros(lo.shape[1:], np.int64)[None] if mu is None else mu.reshape(-1, *layer.windows.shape)
    weights = np.broadcast_to(weights * (layer.windows >= 0), (len(v), *layer.windows.shape))
    _require_room(v, weights, (lo, hi))
    plain = np.maximum(-weights * lo, -weights * hi)
    lifted = np.maximum((v[..., None] - weights) * lo, (v[..., None] - weights) * hi)
    remainder = plain.sum(axis=2)[..., None] - plain
    totals = lifted + remainder
    leader = np.broadcast_to(lo.argmax(axis=2)[..., None], (*v.shape, 1))
    sunk = np.take_along_axis(totals, leader, 2)[..., 0]
    _count(sinks[0], np.where(v >= 0, totals.max(axis=2), sunk))
    flat = weights.reshape(len(v), -1)
    _pile(sinks[1], layer.inputs[0], _back(flat, layer.windows.ravel(), network.sizes[layer.inputs[0]]))


def _back(v: Ints, source: Ints, size: int) -> Ints:
    result = np.zeros((v.shape[0], size), np.int64)
    inside = source >= 0
    for row in range(v.shape[0]):
        np.add.at(result[row], source[inside], v[row, inside])
    return result


def _pile(slopes: dict[int, Ints], tensor: int, v: Ints) -> None:
    slopes[tensor] = slopes[tensor] + v if tensor in slopes else v
    _require(int(np.abs(slopes[tensor]).max(initial=0)) * 2)


def _count(total: list[int], terms: Ints) -> None:
    """Add a row's terms: in 64 bits while that is safe, else in Python's integers."""
    largest = int(np.abs(terms).max(initial=0))
    if largest * max(terms.shape[1], 1) < ROOM:
        for row, value in enumerate(terms.sum(axis=1)):
            total[row] += int(value)
        return
    for row in range(terms.shape[0]):
        total[row] += sum(int(value) for value in terms[row])


def _require_room(v: Ints, mu: Ints, ends: Box) -> None:
    extent = max(int(np.abs(end).max(initial=0)) for end in ends)
    _require(int(np.abs(v).max(initial=0)) * 512 + int(np.abs(mu).max(initial=0)) * max(extent, 512))


def _require(size: int) -> None:
    if size >= ROOM:
        raise FormatError(f"multipliers reach {size}, beyond what 64 bits add exactly; certify with fewer bits")
