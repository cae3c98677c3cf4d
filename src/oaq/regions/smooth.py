"""Channels of what enters a region brought to like size: float code scales them, the layers behind take it back.

A tensor has one scale. Where some channels of it are much larger than the others (a LayerNormalization's results), the
others get few of the 255 steps. Dividing channel c by f[c] before it is quantized, and multiplying column c of every
layer that reads it by f[c], changes no result in float. f[c] = (most of |x| in c)**a / (most of |w| in c)**(1 - a),
a = 1/2, divides what is hard to round between both (Xiao et al. 2022, SmoothQuant).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_float_onnx.split import Split
from oaq.capture.graph import FloatGraph, FloatLinear

Reals = NDArray[np.float32]
SAMPLES: Final = 32
"""Samples that the sizes of channels are taken from."""
LARGEST_RATIO: Final = 64.0
"""Most that a channel is scaled by against the median one."""


def channel_factors(split: Split, batches: Iterable[Mapping[str, Reals]]) -> dict[str, Reals]:
    """What each channel is multiplied by before it enters, (C,), by input of the graph; powers of two.

    Inputs that something else than layers at every position reads are left out, and vectors.
    """
    ends = [end for end in split.entries if end.tensor != end.file]  # the graph's name is free for what is scaled
    readers = {end.tensor: _readers(split.graph, end.tensor) for end in ends}
    largest: dict[str, Reals] = {}
    for batch in islice(batches, SAMPLES) if any(readers.values()) else ():
        for name in (name for name in batch if readers.get(name)):
            most = np.abs(batch[name]).max(axis=(0, *range(2, batch[name].ndim)))
            largest[name] = np.maximum(largest[name], most) if name in largest else most
    factors = {}
    for name, most in largest.items():
        weight = np.max([np.abs(op.weight).max(axis=0) for op in readers[name]], axis=0)
        usable = (most > 0) & (weight > 0)
        if usable.sum() < 2:
            continue
        factor = np.ones_like(most)
        factor[usable] = np.sqrt(weight[usable] / most[usable])
        factor[usable] /= np.median(factor[usable])
        factor = np.clip(factor, 1 / LARGEST_RATIO, LARGEST_RATIO)
        factors[name] = np.exp2(np.rint(np.log2(factor))).astype(np.float32)
    return {name: factor for name, factor in factors.items() if np.ptp(factor)}


def _readers(graph: FloatGraph, name: str) -> list[FloatLinear]:
    """The layers that read a tensor; none if anything else does, or the caller gets it."""
    ops = [node.op for node in graph.consumers(name)]
    layers = [op for op in ops if isinstance(op, FloatLinear)]
    return layers if len(layers) == len(ops) and name not in graph.outputs else []


def with_factors(split: Split, factors: Mapping[str, Reals]) -> Split:
    """The layers take back what their inputs are multiplied by; exact, because factors are powers of two."""
    nodes = []
    for node in split.graph.nodes:
        factor = factors.get(node.inputs[0]) if isinstance(node.op, FloatLinear) else None
        if factor is not None and isinstance(node.op, FloatLinear):
            node = replace(node, op=replace(node.op, weight=(node.op.weight / factor).astype(np.float32)))
        nodes.append(node)
    return replace(split, graph=replace(split.graph, nodes=tuple(nodes)))


def scaled(batches: Iterable[Mapping[str, Reals]], factors: Mapping[str, Reals]) -> Iterator[dict[str, Reals]]:
    """Batches as they enter, (n, C, ...)."""
    for batch in batches:
        yield {
            name: value * factors[name].reshape(-1, *(1,) * (value.ndim - 2)) if name in factors else value
            for name, value in batch.items()
        }
