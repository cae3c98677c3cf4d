"""In which order a linear layer meets its inputs: programs lay images out as NHWC, float networks as NCHW."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatFunction, FloatGraph, FloatNode, FloatReshape


def nhwc_order(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Where each element of the NHWC memory order stands in the (C, H, W) one."""
    order = np.arange(prod(shape)).reshape(shape)
    return (order.transpose(1, 2, 0) if len(shape) == 3 else order).ravel()


def linear_order(graph: FloatGraph, node: FloatNode) -> NDArray[np.intp]:
    """(K,): which column of a linear layer's weights multiplies each integer, in the order in which they lie."""
    image = flattened_image(graph, node.inputs[0])
    return nhwc_order(image if image is not None else graph.shapes[node.inputs[0]])


def flattened_image(graph: FloatGraph, name: str) -> tuple[int, int, int] | None:
    """The (C, H, W) that the vector ``name`` is, in whose memory order its integers lie; None if it has only C."""
    node = graph.producer(name)
    while node is not None and len(graph.shapes[node.output]) == 1:
        source = graph.shapes[node.inputs[0]]
        if isinstance(node.op, FloatReshape) and len(source) == 3:
            return source if source[1] * source[2] > 1 else None  # type: ignore[return-value]
        elementwise = isinstance(node.op, FloatFunction | FloatReshape)
        node = graph.producer(node.inputs[0]) if elementwise else None
    return None
