"""Weights that several layers of a network read: a head called for every level of a pyramid.

A front end unrolls such a head: one node per level, one parameter. What stands behind a level, a batch norm of its own
or a number, becomes part of the node's weights, so equal weights are no longer seen as such: ``Shared`` keeps what the
parameter was and what each node multiplies its rows by. Integers of the parameter then serve every level, because
multipliers and bias are each node's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatArray, FloatGraph, FloatNode, FloatProducts, Parameter

CLOSE = 1e-5
"""Relative difference of weights and what they are said to be made of, from rounding to float32."""


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """One parameter and the layers that read it, two at least.

    Attributes:
        weight: (N, ...) float32, rows turned over where every layer's factor is below 0.
        gains: (N,) positive float32 factors of the rows, by node name, in execution order.
        norms: name of the batch norm behind each; "" where there is none.
        turned: channels whose factors differ in sign, or are 0, from layer to layer: such weights are not shared.
    """

    weight: FloatArray
    gains: Mapping[str, FloatArray]
    norms: Mapping[str, str]
    turned: tuple[int, ...] = ()

    @property
    def first(self) -> str:
        """Name of the first layer."""
        return next(iter(self.gains))

    def same_norm(self, name: str) -> str:
        """The first layer that has the batch norm of the layer ``name``: itself if no other has."""
        norm = self.norms[name]
        return name if not norm else next(other for other in self.norms if self.norms[other] == norm)


def shared_weights(graph: FloatGraph) -> tuple[SharedWeights, ...]:
    """Every parameter that several layers read, ``turned`` ones included, in the order of their first layers.

    A layer whose weights are no longer the parameter times its factors (channels were equalized) reads its own.
    """
    readers: dict[str, list[FloatNode]] = {}
    for node in graph.nodes:
        origin = parameter_of(node)
        if origin is not None:
            readers.setdefault(origin.name, []).append(node)
    return tuple(_joined(nodes) for nodes in readers.values() if len(nodes) > 1)


def without_single_parameters(nodes: Iterable[FloatNode]) -> tuple[FloatNode, ...]:
    """``nodes``, without the parameters that one layer alone is made of: nothing shares them."""
    nodes = tuple(nodes)
    parameters = [node.op.shared for node in nodes if isinstance(node.op, FloatProducts)]
    readers = Counter(parameter.name for parameter in parameters if parameter is not None)

    def kept(node: FloatNode) -> FloatNode:
        op = node.op
        is_single = isinstance(op, FloatProducts) and op.shared is not None and readers[op.shared.name] == 1
        return replace(node, op=replace(op, shared=None)) if is_single else node

    return tuple(map(kept, nodes))


def _is_of(op: FloatProducts, weight: FloatArray, gain: NDArray[np.float64]) -> bool:
    if weight.shape != op.weight.shape:
        return False
    made = weight * gain.reshape(-1, *(1,) * (weight.ndim - 1))
    return bool(np.allclose(op.weight, made, rtol=CLOSE, atol=CLOSE * float(np.abs(op.weight).max(initial=0.0))))


def _joined(nodes: Iterable[FloatNode]) -> SharedWeights:
    """What nodes of one parameter have together."""
    origins = {node.name: parameter for node in nodes if (parameter := parameter_of(node)) is not None}
    signs = np.stack([np.sign(origin.gain) for origin in origins.values()])
    first = next(iter(origins.values()))
    turned = np.flatnonzero((signs != signs[0]).any(axis=0) | (signs == 0).any(axis=0))
    sign = np.where(signs[0] < 0, -1.0, 1.0).reshape(-1, *(1,) * (first.weight.ndim - 1))
    return SharedWeights(
        (first.weight * sign).astype(np.float32),
        {name: np.abs(origin.gain).astype(np.float32) for name, origin in origins.items()},
        {name: origin.norm for name, origin in origins.items()},
        tuple(int(channel) for channel in turned),
    )


def parameter_of(node: FloatNode) -> Parameter | None:
    """The parameter that a node's weights are made of; None if none is known, or they are made of it no longer."""
    origin = node.op.shared if isinstance(node.op, FloatProducts) else None
    return origin if origin is not None and _is_of(node.op, origin.weight, origin.gain) else None  # type: ignore[arg-type]
