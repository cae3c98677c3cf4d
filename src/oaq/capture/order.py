"""In which order a linear layer meets its inputs: programs hold channels last, float graphs channels first."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatFunction, FloatGraph, FloatLinear, FloatNode, FloatReshape


def nhwc_order(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Where each element of the channels-last memory order stands in the (C, ...) one."""
    return np.moveaxis(np.arange(prod(shape)).reshape(shape), 0, -1).ravel()


def linear_order(graph: FloatGraph, node: FloatNode) -> NDArray[np.intp]:
    """(K,): which column of a linear layer's weights multiplies each integer, in the order in which they lie."""
    image = flattened_image(graph, node.inputs[0])
    return nhwc_order(image if image is not None else graph.shapes[node.inputs[0]][:1])


def flattened_image(graph: FloatGraph, name: str) -> tuple[int, ...] | None:
    """The (C, ...) that the vector ``name`` is, in whose memory order its integers lie; None if it has only C."""
    node = graph.producer(name)
    while node is not None and len(graph.shapes[node.output]) == 1:
        source = graph.shapes[node.inputs[0]]
        if isinstance(node.op, FloatReshape) and len(source) > 1:
            return source if prod(source[1:]) > 1 and not node.op.channels_last else None
        elementwise = isinstance(node.op, FloatFunction | FloatReshape)
        node = graph.producer(node.inputs[0]) if elementwise else None
    return None


def permutes(graph: FloatGraph, node: FloatNode) -> bool:
    """Whether a reshape flattens an image whose values would have to be put in another order of memory for it.

    Not so where only linear layers, whose columns can be put in memory's order, see the result.
    """
    if not isinstance(node.op, FloatReshape) or node.op.channels_last:
        return False
    source, shape = graph.shapes[node.inputs[0]], node.op.shape
    if len(shape) != 1 or len(source) < 2 or np.array_equal(nhwc_order(source), nhwc_order(shape)):
        return False
    return not _only_linear_layers_see(graph, node.output)


def _only_linear_layers_see(graph: FloatGraph, name: str) -> bool:
    if name in graph.outputs:
        return False
    for user in graph.consumers(name):
        passed_on = isinstance(user.op, FloatFunction) and _only_linear_layers_see(graph, user.output)
        if not (isinstance(user.op, FloatLinear) or passed_on):
            return False
    return True
