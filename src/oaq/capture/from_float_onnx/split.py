"""``split``: which nodes of a float file become integers, and which stay in float; the first as one ``FloatGraph``.

Every node is offered to the rules of ``normalize``. What they refuse stays in float, with their reason. Tensors that
pass from one kind to the other become inputs (entries) and outputs (exits) of the graph, so that it falls into as many
parts as there are regions.

Not everything that could be integers is. Rounding a tensor to 8 bits pays where a layer sums products of it:

* A region begins with a layer. What comes before the first layer stays in float.
* What only moves values at a region's edge stays in float, where it costs nothing; so does a sum or product at its end
  of which one side is float: the other side would be rounded for it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from oaq.capture.from_float_onnx.builder import View
from oaq.capture.from_float_onnx.split_ends import axes_of, demand, entry_names, late_nodes
from oaq.capture.from_float_onnx.split_walk import LAYERS, Walked, fresh_name, order_of_axes, walk
from oaq.capture.from_onnx.graph import OnnxGraph
from oaq.capture.graph import FloatGraph, FloatProducts
from oaq.errors import UnsupportedOp


@dataclass(frozen=True)
class End:
    """Where a tensor passes between float and integers.

    Attributes:
        file: name in the file.
        tensor: of the graph.
        order: for each axis of the graph's tensor, the batch first, which of the file's it is.
        is_rows: the file's tensor has no axis for samples: all of it is one, and its axes count from 1.
    """

    file: str
    tensor: str
    order: tuple[int, ...]
    is_rows: bool = False

    @property
    def is_plain(self) -> bool:
        """The axes are in the file's order."""
        return not self.is_rows and self.order == tuple(range(len(self.order)))


@dataclass(frozen=True, eq=False)
class Split:
    """A float file in two.

    Attributes:
        file: what was split, at the sizes it was read with.
        graph: of all that becomes integers; channels first throughout.
        entries: its inputs.
        exits: its outputs.
        members: names of the file's nodes that the graph stands for.
        floats: reasons by name, of the nodes that stay in float and that the outputs need, in order.
        computed: tensors of the file that the graph computes, exits or not, and nothing else does.
        aside: operators by name, of further nodes that stay in float: they were not read.
    """

    file: OnnxGraph
    graph: FloatGraph
    entries: tuple[End, ...]
    exits: tuple[End, ...]
    members: frozenset[str]
    floats: Mapping[str, str]
    computed: Mapping[str, End]
    aside: Mapping[str, str] = field(default_factory=dict)

    @property
    def float_kinds(self) -> dict[str, str]:
        """Operators of all nodes that stay in float, by name."""
        kinds = {node.name: node.kind for node in self.file.nodes}
        return {**{name: kinds[name] for name in self.floats}, **self.aside}


def split(file: OnnxGraph, also: Sequence[str] = ()) -> Split:
    """Divide a float file.

    Args:
        file: with DequantizeLinear of constants folded.
        also: tensors that are needed in float although the file's outputs do not need them so.

    Raises:
        UnsupportedOp: no layer of it can become integers; the message says why its first layer cannot.
    """
    refusals: dict[str, str] = {}
    while True:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused where it ends up
            walked = walk(file, refusals)
        exits, floats, refused = demand(walked, (*file.outputs, *also))
        if not refused:
            refused = late_nodes(walked, exits)
        if not refused:
            return _finished(walked, exits, floats)
        refusals |= refused


def _finished(walked: Walked, exits: Mapping[str, None], floats: Mapping[str, str]) -> Split:
    build = walked.build
    if not any(isinstance(node.op, FloatProducts) for node in build.nodes.values()) or not exits:
        raise UnsupportedOp(f"{build.file.where}: no layer of it can become integers: {_why_no_layer(walked)}")
    tensors: dict[str, str] = {}
    ends: list[tuple[str, str, tuple[int, ...]]] = []
    for name in exits:
        view = build.values[name]
        axes = axes_of(build, name)
        assert isinstance(view, View) and axes is not None
        order = order_of_axes(axes)
        plain = order == tuple(range(len(order))) and name not in walked.rows
        free = build.file.dtype(name) in (None, np.float32) and (name not in build.shapes or name == view.tensor)
        tensors.setdefault(view.tensor, name if plain and free else fresh_name(build, name))
        ends.append((name, view.tensor, order))
    graph = build.renamed(tensors).graph(
        tuple(dict.fromkeys(tensors.get(tensor, tensor) for _, tensor, _ in ends)),
        {"source": "onnx", "input_layout": "NCHW"},
    )
    read = {name for node in graph.nodes for name in node.inputs}
    graph = replace(graph, inputs=tuple(name for name in graph.inputs if name in read))
    graph = replace(graph, shapes={name: size for name, size in graph.shapes.items() if name in _tensors(graph)})
    names = entry_names(walked)
    return Split(
        build.file,
        graph,
        tuple(_entry(walked, names[tensor], tensor) for tensor in graph.inputs),
        tuple(End(name, tensors.get(tensor, tensor), order, name in walked.rows) for name, tensor, order in ends),
        frozenset(walked.members - set(floats)),
        floats,
        _computed(walked, tensors, set(graph.shapes)),
    )


def _entry(walked: Walked, name: str, tensor: str) -> End:
    return End(name, tensor, walked.orders[name], name in walked.rows)


def _computed(walked: Walked, names: Mapping[str, str], present: set[str]) -> dict[str, End]:
    build = walked.build
    computed = {}
    for name, view in build.values.items():
        if name in walked.orders or name in walked.moves or not isinstance(view, View):
            continue
        tensor = names.get(view.tensor, view.tensor)
        axes = view.axes(build.shapes[tensor]) if tensor in present else None
        computed[name] = End(name, tensor, order_of_axes(axes) if axes is not None else (), name in walked.rows)
    return computed


def _tensors(graph: FloatGraph) -> set[str]:
    return {*graph.inputs, *(node.output for node in graph.nodes)}


def _why_no_layer(walked: Walked) -> str:
    for node in walked.build.file.nodes:
        if node.op in LAYERS and node.name in walked.reasons:
            return f"{node.name} ({node.kind}): {walked.reasons[node.name]}"
    return "it has no Conv, Gemm or MatMul with constant weights"
