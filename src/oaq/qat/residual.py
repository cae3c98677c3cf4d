"""Wide residuals: what an addition reads keeps 8 bits beside layers that read it with fewer (2007.06919, section 3.3).

A tensor has one set of integers. Where an addition and layers of few bits read the same one, the addition would have
the layers' few steps. Here the layers read it through a table from 8 bits to their own: a function that changes nothing
but the integers.
"""

from __future__ import annotations

import math
from dataclasses import replace

from oaq import operators as ops
from oaq.capture.graph import FloatFunction, FloatGraph, FloatNode, FloatProducts, Unquantized
from oaq.qat.config import Config
from oaq.qat.network import layer_settings, roots_of

SAME = FloatFunction("clamp", (-math.inf, math.inf))
SUFFIX = ".narrow"


def with_wide_residuals(graph: FloatGraph, config: Config) -> FloatGraph:
    """``graph``, in which no layer of less than 8 bits reads the integers that an addition reads."""
    roots, settings = roots_of(graph), layer_settings(graph, config)
    added = {
        roots[name]
        for node in graph.nodes
        if isinstance(node.op, Unquantized) and node.op.operator is ops.Add
        for name in node.inputs
    }
    shapes, nodes, narrow = dict(graph.shapes), list[FloatNode](), dict[str, str]()
    for node in graph.nodes:
        is_narrow = isinstance(node.op, FloatProducts) and settings[node.name].activation_bits < 8
        if not is_narrow or roots[node.inputs[0]] not in added:
            nodes.append(node)
            continue
        source = node.inputs[0]
        if source not in narrow:
            name = narrow[source] = source + SUFFIX
            shapes[name] = shapes[source]
            nodes.append(FloatNode(name, SAME, (source,), name))
        nodes.append(replace(node, inputs=(narrow[source],)))
    return replace(graph, shapes=shapes, nodes=tuple(nodes))
