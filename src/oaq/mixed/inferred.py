"""Shapes and types that ONNX's own inference finds in a file that may be damaged. Loads onnx when it is called.

Its C++ ends the process where a Slice cuts an axis of a negative size, whether the file states that size or an operator
before computes it. So sizes below 0 are forgotten, and a Slice is shown to it only once every size before is known to
be none: in rounds, by how many Slices come one after the other. What cannot be seen from outside (Slices in subgraphs
and functions) is never shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx

LARGEST_VALUE: Final = 1 << 12
"""Bytes of a constant beyond which inference needs its shape only, and is spared the copy."""
SLICE: Final = "Slice"


def with_sizes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """A copy whose inputs have these sizes; what it declared of its outputs' sizes, which may contradict them, is gone.

    Args:
        model: a file; it stays as it is.
        shapes: by input; inputs that are left out stay as they are declared.
    """
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in shapes:
            value.type.tensor_type.shape.ClearField("dim")
            for size in shapes[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = int(size)
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    return fixed


def infer(model: onnx.ModelProto, *, data_prop: bool = False) -> list[onnx.ValueInfoProto]:
    """Every tensor of the main graph that is known, the file's own inputs and outputs among them.

    Args:
        model: a file; it stays as it is.
        data_prop: follow shapes that are computed as values, too.

    Returns:
        What the file states where inference fails.
    """
    import onnx

    light = _without_values(model)
    inputs = {value.name for value in model.graph.input}
    depths = _slices_before(light.graph.node)
    known = [*light.graph.value_info, *light.graph.output, *model.graph.input]
    for shown in range(-1, max(depths, default=-1) + 1):
        try:
            graph = onnx.shape_inference.infer_shapes(_shown(light, depths, shown), data_prop=data_prop).graph
        except Exception:  # whatever its C++ raises: then what was known before stands
            break
        own_inputs = [value for value in graph.input if value.name in inputs]
        known = [*graph.value_info, *graph.output, *own_inputs]
        if _has_negative((*graph.value_info, *graph.output, *graph.input)):
            break
    return known


def _without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the numbers of large constants and without sizes below 0."""
    import onnx
    from onnx import helper

    light = onnx.ModelProto()
    light.CopyFrom(model)
    graph = light.graph
    declared = {value.name for value in graph.input}
    large = [tensor for tensor in graph.initializer if tensor.ByteSize() > LARGEST_VALUE or tensor.external_data]
    small = [tensor for tensor in graph.initializer if tensor.ByteSize() <= LARGEST_VALUE and not tensor.external_data]
    for tensor in large:
        if tensor.name not in declared and all(size >= 0 for size in tensor.dims):
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in small]
    del graph.initializer[:]
    graph.initializer.extend(tensor for tensor in copies if all(size >= 0 for size in tensor.dims))
    _forget_negative(graph)
    return light


def _forget_negative(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.Clear()


def _slices_before(nodes: Iterable[onnx.NodeProto]) -> list[int]:
    """For each Slice, in order: how many Slices, one reading of another, come before it at most."""
    before: dict[str, int] = {}
    depths = []
    for node in nodes:
        depth = max((before.get(name, 0) for name in node.input), default=0)
        if node.op_type == SLICE:
            depths.append(depth)
            depth += 1
        before.update(dict.fromkeys(node.output, depth))
    return depths


def _shown(model: onnx.ModelProto, depths: Sequence[int], most: int) -> onnx.ModelProto:
    """A copy in which Slices deeper than ``most``, and all of subgraphs and functions, do not say what they cut."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    slices = [node for node in copy.graph.node if node.op_type == SLICE]
    for node, depth in zip(slices, depths, strict=True):
        if depth > most:
            _hide(node)
    inner = [graph for node in copy.graph.node for graph in subgraphs(node)]
    bodies = [node for function in copy.functions for node in function.node]
    while inner:
        graph = inner.pop()
        bodies += graph.node
        _forget_negative(graph)
        inner += [deeper for node in graph.node for deeper in subgraphs(node)]
    for node in bodies:
        if node.op_type == SLICE:
            _hide(node)
    return copy


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Graphs among a node's attributes: the branches of an If, the body of a Loop."""
    from onnx import AttributeProto

    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return [graph for entry in node.attribute if entry.type in kinds for graph in (entry.g, *entry.graphs)]


def _hide(node: onnx.NodeProto) -> None:
    """Leave a Slice its operand only: type and rank of its result are those of that."""
    del node.attribute[:]
    operand, rest = list(node.input[:1]), len(node.input) - 1
    del node.input[:]
    node.input.extend([*operand, *[""] * max(rest, 0)])


def _has_negative(values: Iterable[onnx.ValueInfoProto]) -> bool:
    return any(dim.dim_value < 0 for value in values for dim in value.type.tensor_type.shape.dim)
