"""One pass over a float file: each node becomes part of the graph, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from oaq.capture.from_float_onnx import functions
from oaq.capture.from_float_onnx.builder import Builder, View, layout_of, unsupported
from oaq.capture.from_float_onnx.normalize import HANDLERS, channels_last
from oaq.capture.from_float_onnx.recognized import Recognized, recognize
from oaq.capture.from_onnx.attribute_table import attribute_flaw
from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode
from oaq.capture.from_onnx.order import channel_axis, rotated
from oaq.errors import OaqError
from oaq.program.layout import channels_first

LAYERS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What a region begins with."""
MOVES: Final = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout", "Cast")
"""Operators that count axes anew and change no value."""
ROW_WISE: Final = (
    *("MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Neg", "Sum", "Relu", "Clip", "Min", "Max", "Sigmoid", "Tanh"),
    *("HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Gelu", "PRelu", "Identity", "Dropout", "Cast"),
)
"""Operators that compute every row of numbers by itself, however many axes lie before the last."""
SUFFIX: Final = "_channels_first"
"""Ends the name of a tensor of ours that the file has in another order of axes."""


@dataclass
class Walked:
    """One pass over the file.

    Attributes:
        build: the graph under construction.
        reasons: of nodes that stay in float.
        writers: names of the file's nodes by tensor of ours that they appended.
        moves: outputs of nodes that count axes anew and changed no tensor.
        members: names of the nodes that are part of the graph.
        orders: of the axes of each entry, by the file's names; see ``End``.
        rows: tensors of the file without an axis for samples: (tokens, C), (windows, tokens, C).
    """

    build: Builder
    reasons: dict[str, str]
    writers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    moves: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    orders: dict[str, tuple[int, ...]] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)


def walk(file: OnnxGraph, refusals: Mapping[str, str]) -> Walked:
    """Offer every node to the rules of ``normalize``.

    Args:
        file: whose nodes.
        refusals: reasons by name, of nodes that are not offered.
    """
    walked = Walked(Builder(file.name, file=file), dict(refusals))
    written_out = recognize(file)
    groups = {node: {*function.inner, node} for node, function in written_out.items()}
    written_out = {node: function for node, function in written_out.items() if not groups[node] & set(refusals)}
    inner = {name: node for node, function in written_out.items() for name in function.inner}
    for node in file.nodes:
        if node.name in refusals or node.name in inner:
            continue
        function = written_out.get(node.name)
        before = _copied(walked.build)
        orders, rows = dict(walked.orders), set(walked.rows)
        try:
            _take(walked, node, function)
        except OaqError as error:
            walked.build, walked.orders, walked.rows = before, orders, rows
            for name in groups[node.name] if function is not None else (node.name,):
                walked.reasons[name] = _reason(str(error))
            continue
        names = (node.name, *sorted(function.inner)) if function is not None else (node.name,)
        _note(walked, before, node, names)
    return walked


def _reason(text: str) -> str:
    """A message without the place it begins with."""
    return text.rpartition("): ")[2] or text


def _copied(build: Builder) -> Builder:
    """What ``build`` knows now; its values are never changed in place."""
    return replace(
        build,
        inputs=list(build.inputs),
        shapes=dict(build.shapes),
        nodes=dict(build.nodes),
        values=dict(build.values),
        names={tensor: list(names) for tensor, names in build.names.items()},
        reshaped=set(build.reshaped),
        inner=set(build.inner),
    )


def _take(walked: Walked, node: OnnxNode, function: Recognized | None) -> None:
    """Make ``node`` part of the graph.

    Raises:
        OaqError: it cannot be, or should not.
    """
    build = walked.build
    handler = None if node.domain else HANDLERS.get(node.op)
    if handler is None:
        raise unsupported(node, f"oaq has no integer operator for {node.kind}")
    flaw = attribute_flaw(node, build.file.opsets)
    if flaw:
        raise unsupported(node, flaw)
    if not node.outputs or not node.outputs[0]:
        raise unsupported(node, "its first result is not used")
    read = (function.root,) if function is not None else tuple(filter(None, node.inputs))
    activations = [name for name in read if build.file.constant(name) is None]
    is_layer = node.op in LAYERS and function is None
    if not is_layer and not any(name in build.values and name not in walked.orders for name in activations):
        raise unsupported(node, "no layer of integers comes before it")
    for name in activations[:1] if is_layer else activations:
        if name not in build.values:
            _enter(walked, name, node, row_wise=function is not None or node.op in ROW_WISE)
    _count_rows(walked, node, [name for name in activations if name in build.values], function)
    if function is not None:
        functions.apply(build, node, function.root, function.op)
    else:
        handler(build, node)


def _count_rows(walked: Walked, node: OnnxNode, activations: Sequence[str], function: Recognized | None) -> None:
    """Say whether ``node`` works on tensors that have an axis for samples, or on rows alone.

    Raises:
        UnsupportedOp: on both, or it does more than compute each row by itself.
    """
    rows = [name in walked.rows for name in activations]
    if any(rows) and (not all(rows) or (function is None and node.op not in ROW_WISE)):
        raise unsupported(node, f"its input {activations[rows.index(True)]!r} has no axis for samples")
    walked.build.has_samples = not any(rows)
    walked.rows.update(node.outputs[:1] if any(rows) else ())


def _enter(walked: Walked, name: str, node: OnnxNode, *, row_wise: bool) -> None:
    """Make a tensor that float nodes compute, or the caller gives, an input of the graph."""
    build = walked.build
    dtype, shape = build.file.dtype(name), build.file.shape(name)
    if dtype is None or dtype.kind != "f":
        raise unsupported(node, f"it reads {name!r}, which holds {dtype}")
    rows = len(shape) in (2, 3) and row_wise and build.file.batch == 1 != shape[0]
    if not rows and (len(shape) not in (2, 3, 4) or shape[0] != build.file.batch):
        raise unsupported(node, f"it reads {name!r} of shape {shape}: no batch of vectors, lines or images")
    if rows:
        walked.rows.add(name)
    sample = shape if rows else shape[1:]
    last = rows or (
        len(sample) > 1
        and (channels_last(build.file, name) or channel_axis(build.file, name, len(sample)) == len(sample))
    )
    axes = rotated(len(sample)) if last else tuple(range(len(sample)))
    tensor = name if not last and dtype == np.float32 else fresh_name(build, name)
    build.shapes[tensor] = channels_first(sample) if last else sample
    build.inputs.append(tensor)
    build.settle(name, View(tensor, layout_of(build.shapes[tensor], axes if last else None)))
    walked.orders[name] = order_of_axes(axes)


def order_of_axes(axes: tuple[int, ...]) -> tuple[int, ...]:
    """For each axis of ours, the batch first, which of the file's it is; ``axes`` says the reverse of samples."""
    return (0, *(1 + axes.index(axis) for axis in range(len(axes))))


def fresh_name(build: Builder, name: str) -> str:
    """A free name for what is ``name`` in the file, with its axes in another order."""
    candidate, number = name + SUFFIX, 1
    while candidate in build.shapes or candidate in build.file.types:
        number += 1
        candidate = f"{name}{SUFFIX}_{number}"
    return candidate


def _note(walked: Walked, before: Builder, node: OnnxNode, names: tuple[str, ...]) -> None:
    walked.members.update(names)
    build = walked.build
    changed = [tensor for tensor, writer in build.nodes.items() if before.nodes.get(tensor) is not writer]
    for tensor in changed:
        if tensor not in before.nodes:
            walked.writers[tensor] = names
    if node.op in MOVES and not changed and len(build.nodes) == len(before.nodes):
        walked.moves.update(filter(None, node.outputs))
