"""A dynamic ONNX file in which weights, their zero points and their scales are replaced, and all else stays as it is.

A constant that anything else reads too is left alone; the layer gets one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx import DynamicProduct
from oaq.capture.from_dynamic_onnx.reader import FORMS
from oaq.errors import FormatError, UnsupportedOp
from oaq.repair.dynamic import DynamicChange
from oaq.repair.onnx_file import LARGEST_FILE, uses_other_files

try:
    import onnx
    from onnx import NodeProto, numpy_helper
except ImportError as error:  # pragma: no cover (the test environment has it)
    raise FormatError("repairing ONNX files needs the package onnx: pip install onnx") from error

Array = NDArray[Any]
Place = tuple[NodeProto, int]
"""A node and which of its inputs."""


def rewritten(content: bytes, where: str, changes: Sequence[tuple[DynamicProduct, DynamicChange]]) -> bytes:
    """The file with these changes.

    Args:
        content: bytes of the file.
        where: the file, for messages.
        changes: by layer; layers that share weights have equal ones.

    Raises:
        UnsupportedOp: a node cannot be found.
        FormatError: the file has outgrown protobuf.
    """
    model = onnx.ModelProto()
    model.ParseFromString(content)
    editor = _Editor(model, where)
    weights: dict[str, list[Place]] = {}
    arrays: dict[str, Array] = {}
    for product, change in changes:
        node = editor.node(product.output)
        form = FORMS[node.domain if node.domain != "ai.onnx" else "", node.op_type]
        weights.setdefault(product.weight_name, []).append((node, form.weight))
        arrays[product.weight_name] = _stored(product, change)
        if change.zero.any() or product.zero.any():
            editor.write_zero(node, form.weight_zero, change.zero.astype(product.weight.dtype))
        if product.use is not None and np.any(change.factor != 1):
            reader = editor.node(product.use.output)
            shape = (-1, *[1] * (product.weight.ndim - 2)) if product.convolves else (-1,)
            editor.write([(reader, product.use.slot)], change.scale.reshape(shape))
            editor.forget_shape(product.use.output)
    for name, places in weights.items():
        editor.write(places, arrays[name])
    if model.ByteSize() > LARGEST_FILE:
        raise FormatError(f"{where}: grows beyond what one ONNX file holds")
    return model.SerializeToString(deterministic=True)


def _stored(product: DynamicProduct, change: DynamicChange) -> Array:
    """New weights in the file's order of axes."""
    if not product.convolves:
        return np.ascontiguousarray(change.weight.T).astype(product.weight.dtype)
    outputs, channels, *kernel = product.weight.shape
    moved = np.moveaxis(change.weight.reshape(outputs, *kernel, channels), -1, 1)
    return np.ascontiguousarray(moved).astype(product.weight.dtype)


class _Editor:
    """Constants of a model, replaced."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self._graph, self._where = model.graph, where
        self._writers = {output: node for node in self._graph.node for output in node.output if output}
        self._holders = {tensor.name: tensor for tensor in self._graph.initializer}
        self._ends = {value.name for value in (*self._graph.output, *self._graph.input)}

    def node(self, output: str) -> NodeProto:
        """The node that writes a tensor."""
        if output not in self._writers:
            raise UnsupportedOp(
                f"{self._where}: {output!r} is written inside a function; write it out first (onnx.inliner)"
            )
        return self._writers[output]

    def write(self, places: Sequence[Place], value: Array) -> None:
        """Let these inputs read another constant, in place of the old one where nothing else reads it."""
        node, slot = places[0]
        name = node.input[slot]
        of_layer = {(tuple(reader.output), index) for reader, index in places}
        readers = {
            (tuple(reader.output), index)
            for reader in self._graph.node
            for index, operand in enumerate(reader.input)
            if operand == name
        }
        if name in self._holders and name not in self._ends and readers <= of_layer:
            self._holders[name].CopyFrom(numpy_helper.from_array(value, name))
            return
        fresh = f"{name}_repaired"
        while fresh in self._holders or fresh in self._writers:
            fresh += "_"
        self._holders[fresh] = self._graph.initializer.add()
        self._holders[fresh].CopyFrom(numpy_helper.from_array(value, fresh))
        for reader, index in places:
            reader.input[index] = fresh

    def write_zero(self, node: NodeProto, slot: int, zero: Array) -> None:
        """Zero points of weights; one where all are the same."""
        while len(node.input) <= slot:
            node.input.append("")
        if not node.input[slot]:
            node.input[slot] = f"{node.output[0]}_weight_zero_point"
        self.write([(node, slot)], zero if np.any(zero != zero[0]) else zero[0].reshape(()))

    def forget_shape(self, output: str) -> None:
        """Take out what the file says of a tensor that a vector of scales makes a vector of."""
        stale = [value for value in self._graph.value_info if value.name == output]
        for value in stale:
            self._graph.value_info.remove(value)


__all__ = ["rewritten", "uses_other_files"]
