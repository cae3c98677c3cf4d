"""An ONNX file in which constants are replaced and everything else stays as it is.

A constant that something else reads too is not touched: a layer that needs another value gets a constant of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_onnx import OnnxGraph
from oaq.capture.from_onnx.shapes import QONNX
from oaq.errors import FormatError, UnsupportedOp
from oaq.seal.text import KEY

try:
    import onnx
    from onnx import TensorProto, external_data_helper, helper, numpy_helper
except ImportError as error:  # pragma: no cover (the test environment has it)
    raise FormatError("repairing ONNX files needs the package onnx: pip install onnx") from error

SCALE_PER_AXIS: Final = 13
"""Opset since which DequantizeLinear has an axis."""
LARGEST_FILE: Final = (1 << 31) - 1
"""Bytes a protobuf may have."""
Array = NDArray[Any]


class OnnxFile:
    """A model that is being changed.

    Args:
        content: of the file; it has been read before, so it is one.
        graph: the same, read.
    """

    def __init__(self, content: bytes, graph: OnnxGraph) -> None:
        self.model = onnx.ModelProto()
        self.model.ParseFromString(content)
        if self.model.functions:
            raise UnsupportedOp(
                f"{graph.where}: calls functions of its own; write them out first (onnx.inliner) and repair that file"
            )
        self._graph, self._nodes = graph, list(self.model.graph.node)
        self._holders: dict[str, TensorProto] = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._producer: dict[str, int] = {}
        self._readers: dict[str, set[int]] = {}
        for index, node in enumerate(self._nodes):
            self._producer.update(dict.fromkeys(filter(None, node.output), index))
            for name in filter(None, node.input):
                self._readers.setdefault(name, set()).add(index)
            value = next(
                (
                    attribute.t
                    for attribute in node.attribute
                    if node.op_type == "Constant" and attribute.name == "value"
                ),
                None,
            )
            if value is not None:
                self._holders[node.output[0]] = value
        self._results = {output.name for output in self.model.graph.output}
        self._index_of: dict[str, int] = {_name(node): index for index, node in enumerate(self._nodes)}

    def constant(self, name: str) -> Array:
        """The value of a constant as the file (or a computation on its constants) has it."""
        if name in self._holders and not external_data_helper.uses_external_data(self._holders[name]):
            return numpy_helper.to_array(self._holders[name])
        value = self._graph.constant(name)
        if value is None:
            raise UnsupportedOp(f"{self._graph.where}: {name!r} lies in another file; save it inside this one first")
        return value

    def replace(self, name: str, value: Array, nodes: Collection[str]) -> None:
        """Give the layer made of ``nodes`` another value for a constant, of the same type."""
        layer_nodes = self._private({self._index_of[node] for node in nodes if node in self._index_of})
        holder = self._holders.get(name)
        if holder is not None and self._readers.get(name, set()) <= layer_nodes and name not in self._results:
            self._fill(holder, value)
            return
        fresh = self._fresh(name, value, holder.data_type if holder else helper.np_dtype_to_tensor_dtype(value.dtype))
        for index in self._readers.get(name, set()) & layer_nodes:
            inputs = self._nodes[index].input
            inputs[:] = [fresh if operand == name else operand for operand in inputs]
            self._readers.setdefault(fresh, set()).add(index)
        self._readers[name] = self._readers.get(name, set()) - layer_nodes

    def can_spread(self, name: str, nodes: Collection[str]) -> bool:
        """Whether every node of a layer that reads this scale may read one per output instead.

        DequantizeLinear has an axis since opset 13; quantized operators take (N,) scales of weights in any opset.
        """
        layer_nodes = self._private({self._index_of[node] for node in nodes if node in self._index_of})
        readers = [self._nodes[index] for index in self._readers.get(name, set()) & layer_nodes]
        old = self._graph.opset < SCALE_PER_AXIS
        return not any(old and node.op_type == "DequantizeLinear" and node.domain not in QONNX for node in readers)

    def spread(self, name: str, value: Array, nodes: Collection[str], place: tuple[int, int]) -> None:
        """``replace`` one scale for all by (N,) of them; the zero points beside it are spread too.

        Args:
            name: of the scale.
            value: (N,).
            nodes: that the layer is made of.
            place: axis of the scaled tensor along which its outputs lie, and how many axes it has.
        """
        layer_nodes = self._private({self._index_of[node] for node in nodes if node in self._index_of})
        axis, rank = place
        shape: tuple[int, ...] = value.shape
        for index in sorted(self._readers.get(name, set()) & layer_nodes):
            node = self._nodes[index]
            slot = list(node.input).index(name)
            if node.domain in QONNX:
                shape = tuple(len(value) if position == axis else 1 for position in range(rank))
            elif node.op_type in ("DequantizeLinear", "QuantizeLinear"):
                attributes = [attribute for attribute in node.attribute if attribute.name != "axis"]
                del node.attribute[:]
                node.attribute.extend([*attributes, helper.make_attribute("axis", axis)])
            zero = node.input[slot + 1] if slot + 1 < len(node.input) else ""
            if zero:
                point = self.constant(zero)
                points = np.full(shape, point.reshape(-1)[0], point.dtype)
                node.input[slot + 1] = self._fresh(zero, points, helper.np_dtype_to_tensor_dtype(point.dtype))
        self.replace(name, value.reshape(shape), nodes)

    def drop_certificate(self) -> bool:
        """Take out a certificate of oaq: it is about other weights. Says whether there was one."""
        entries = [entry for entry in self.model.metadata_props if entry.key != KEY]
        if len(entries) == len(self.model.metadata_props):
            return False
        del self.model.metadata_props[:]
        self.model.metadata_props.extend(entries)
        return True

    def watch(self, names: Iterable[str]) -> None:
        """Make tensors outputs of the graph too, whatever their type."""
        self.model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in self._results)

    def content(self) -> bytes:
        """The whole file.

        Raises:
            FormatError: it has outgrown protobuf.
        """
        if self.model.ByteSize() > LARGEST_FILE:
            raise FormatError(f"{self._graph.where}: grows beyond what one ONNX file holds")
        return self.model.SerializeToString(deterministic=True)

    def _fresh(self, name: str, value: Array, kind: int) -> str:
        """A further constant, called after ``name``."""
        fresh = f"{name}_repaired"
        while fresh in self._holders or fresh in self._producer:
            fresh += "_"
        tensor = self.model.graph.initializer.add()
        tensor.name, tensor.data_type = fresh, kind
        self._fill(tensor, value)
        self._holders[fresh] = tensor
        return fresh

    def _private(self, layer_nodes: set[int]) -> set[int]:
        """``layer_nodes`` and the nodes that compute constants for those only."""
        closure = set(layer_nodes)
        pending = [name for index in layer_nodes for name in self._nodes[index].input]
        while pending:
            index = self._producer.get(pending.pop())
            if index is None or index in closure or not self._is_constant(index):
                continue
            results = [name for name in self._nodes[index].output if name]
            if all(self._readers.get(name, set()) <= closure and name not in self._results for name in results):
                closure.add(index)
                pending += self._nodes[index].input
        return closure

    def _is_constant(self, index: int) -> bool:
        return all(name in self._graph.folded or name in self._holders for name in self._nodes[index].output if name)

    @staticmethod
    def _fill(holder: TensorProto, value: Array) -> None:
        name, documented = holder.name, holder.doc_string
        dtype = helper.tensor_dtype_to_np_dtype(holder.data_type)
        holder.CopyFrom(numpy_helper.from_array(np.array(value, dtype, order="C"), name))
        if documented:
            holder.doc_string = documented


def uses_other_files(content: bytes) -> bool:
    """Whether a model keeps constants beside itself."""
    model = onnx.ModelProto()
    model.ParseFromString(content)
    return any(external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer)


def _name(node: onnx.NodeProto) -> str:
    """As ``capture.from_onnx`` calls it; of several that are called alike, the last."""
    return node.name or f"{node.op_type}_{next(iter(filter(None, node.output)), '')}"
