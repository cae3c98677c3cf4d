"""How long a float graph will take once it is integers: where its layers stand, and what the rest of it costs.

Predicted for the rows of a quantization target (``kernels.targets``).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Final

from oaq import operators as ops
from oaq.capture import graph as fg
from oaq.capture.neutral import neutral
from oaq.kernels.cost import Predictor, predictor
from oaq.kernels.cost_files import costs_from
from oaq.kernels.facts import best_of_family
from oaq.kernels.table import KernelRow
from oaq.kernels.targets import AVX2, KernelTarget
from oaq.kernels.work import Site, window_site
from oaq.numerics.ranges import IntRange
from oaq.operators.tensor import as_image
from oaq.operators.windows import Window
from oaq.program.layout import channels_last

WEIGHTLESS: Final = IntRange(0, 255)


def predictor_of_graph(graph: fg.FloatGraph, target: KernelTarget = AVX2) -> Predictor:
    """Predict by the costs that ``OAQ_COSTS`` names, else by the shipped ones."""
    weights = sum(node.op.weight.size for node in graph.nodes if isinstance(node.op, fg.FloatProducts))
    touched = (sum(prod(graph.shapes[name]) for name in (*node.inputs, node.output)) for node in graph.nodes)
    return predictor(costs_from(), weights, max(touched, default=0), target)


def layer_site(graph: fg.FloatGraph, node: fg.FloatNode, op: fg.FloatProducts) -> Site:
    """Where a layer stands.

    What is never below zero is taken to leave in 16 bits (``ptq.words`` sees to it), and to have the zero point 0.
    """
    x, y = (as_image(channels_last(graph.shapes[name])) for name in (node.inputs[0], node.output))
    words = float(node.clamp is not None and node.clamp[0] == 0.0)
    if not isinstance(op, fg.FloatConv2d):
        return Site(x, y, words=words)
    window = Window(op.kernel, op.stride, op.padding, op.dilation)
    writer = graph.producer(node.inputs[0])
    pads_with = 0 if writer is not None and writer.clamp is not None and writer.clamp[0] == 0.0 else None
    return replace(window_site(window, x, y, groups=op.groups, words=words), pads_with=pads_with)


def other_seconds(graph: fg.FloatGraph, time: Predictor) -> float:
    """Predicted seconds of all nodes without products."""
    return sum(_seconds(graph, node, time) for node in graph.nodes if not isinstance(node.op, fg.FloatProducts))


def _seconds(graph: fg.FloatGraph, node: fg.FloatNode, time: Predictor) -> float:
    x, y = [channels_last(graph.shapes[name]) for name in node.inputs], channels_last(graph.shapes[node.output])
    op = neutral(node.op, x)
    kind, target = ops.family_of(op), time.target
    name = best_of_family(time.costs.facts, kind, target.isas)
    if name is None:  # nothing timed: reshapes take no time, an operator younger than the costs takes the dearest
        name = kind
    isa, includes = target.summing[0].isa, target.summing[0].includes
    row = KernelRow(name, kind, isa, 1, None, WEIGHTLESS, WEIGHTLESS, False, includes=includes)
    return time.other_node(row, op, x, y)
