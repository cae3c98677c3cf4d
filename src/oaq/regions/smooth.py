"""Channels of tokens brought to like size where they enter and leave regions: float code scales them, layers undo it.

A tensor has one scale. Where some channels of it are much larger than the others (a LayerNormalization's results, what
a transformer adds to its residuals), the others get few of the 255 steps. Multiplying channel c by f[c] before it is
quantized, and dividing column c of every layer that reads it by f[c], changes no result in float:
f[c] = (most of |w| in c)**a / (most of |x| in c)**(1 - a), a = 1/2, divides what is hard to round between both (Xiao et
al. 2022, SmoothQuant). Results that leave are scaled in the rows of their layer, and back in float: all channels get
the same range then. Factors are powers of two, so that both are exact.
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


def exit_factors(split: Split, values: Iterable[Mapping[str, Reals]]) -> dict[str, Reals]:
    """What each channel of a layer's results is multiplied by before they are rounded, (C,), by the graph's outputs.

    Results that something else than the layer decides on, or that a region reads too, are left out, and vectors.

    Args:
        split: whose exits.
        values: of the float network, by the file's names.
    """
    ends = [end for end in split.exits if end.tensor != end.file and _is_bare_layer(split.graph, end.tensor)]
    largest: dict[str, Reals] = {}
    for feed in islice(values, SAMPLES) if ends else ():
        for end in ends:
            channel = end.order[1] - end.is_rows
            array = np.abs(np.asarray(feed[end.file], np.float32))
            most = array.max(axis=tuple(axis for axis in range(array.ndim) if axis != channel))
            largest[end.tensor] = np.maximum(largest[end.tensor], most) if end.tensor in largest else most
    factors = {}
    for name, most in largest.items():
        factor = np.where(most > 0, np.median(most) / np.where(most > 0, most, 1), 1)
        factor = np.clip(factor, 1 / LARGEST_RATIO, LARGEST_RATIO)
        factors[name] = np.exp2(np.rint(np.log2(np.maximum(factor, 1 / LARGEST_RATIO)))).astype(np.float32)
    return {name: factor for name, factor in factors.items() if np.ptp(factor)}


def _is_bare_layer(graph: FloatGraph, name: str) -> bool:
    node = graph.producer(name)
    return (
        node is not None and isinstance(node.op, FloatLinear) and node.clamp is None and not any(graph.consumers(name))
    )


def _readers(graph: FloatGraph, name: str) -> list[FloatLinear]:
    """The layers that read a tensor; none if anything else does, or the caller gets it."""
    ops = [node.op for node in graph.consumers(name)]
    layers = [op for op in ops if isinstance(op, FloatLinear)]
    return layers if len(layers) == len(ops) and name not in graph.outputs else []


def with_factors(split: Split, factors: Mapping[str, Reals]) -> Split:
    """The layers take back what their inputs are multiplied by, and multiply their results.

    Exact, because factors are powers of two.
    """
    nodes = []
    for node in split.graph.nodes:
        op = node.op
        if isinstance(op, FloatLinear) and node.inputs[0] in factors:
            op = replace(op, weight=(op.weight / factors[node.inputs[0]]).astype(np.float32))
        if isinstance(op, FloatLinear) and node.output in factors:
            factor = factors[node.output]
            op = replace(op, weight=(op.weight * factor[:, None]).astype(np.float32), bias=op.bias * factor)
        nodes.append(replace(node, op=op))
    return replace(split, graph=replace(split.graph, nodes=tuple(nodes)))


def scaled(batches: Iterable[Mapping[str, Reals]], factors: Mapping[str, Reals]) -> Iterator[dict[str, Reals]]:
    """Batches as they enter, (n, C, ...)."""
    for batch in batches:
        yield {
            name: value * factors[name].reshape(-1, *(1,) * (value.ndim - 2)) if name in factors else value
            for name, value in batch.items()
        }
