"""A float region as an ONNX model of its own, for ONNX Runtime. Loads onnx when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from oaq.errors import UnsupportedOp
from oaq.mixed.program import FloatBody, Region

if TYPE_CHECKING:
    import onnx

    from oaq.capture.from_onnx.graph import OnnxNode, TensorType


def region_model(region: Region, body: FloatBody) -> bytes:
    """The region's nodes and constants under their names, serialized.

    Its inputs are what the region reads, of any shape; its outputs what it writes.

    Raises:
        UnsupportedOp: it reads or writes integers of a type that arrays do not have.
    """
    from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

    narrow = [name for name in (*region.reads, *region.writes) if name in body.types and body.types[name].bits]
    if narrow:
        raise UnsupportedOp(f"{region.name}: its tensor {narrow[0]!r} holds {body.types[narrow[0]].bits}-bit integers")
    inputs = []
    for name in region.reads:
        dtype = body.types[name].dtype if name in body.types else None
        kind = TensorProto.FLOAT if dtype is None else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        inputs.append(helper.make_tensor_value_info(name, kind, None))
    constants = []
    for name, array in body.constants.items():
        if name in body.tensors:
            tensor = TensorProto()
            tensor.ParseFromString(body.tensors[name])
            constants.append(tensor)
        elif name in body.types and body.types[name].bits is not None:
            kind = _narrow_kind(body.types[name])
            constants.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist()))
        else:
            constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
    nodes = [_node(node, body.protos) for node in body.nodes]
    graph = helper.make_graph(nodes, "region", inputs, [ValueInfoProto(name=name) for name in region.writes], constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in body.opsets.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=body.ir_version, producer_name="oaq")
    return model.SerializeToString()


def _node(node: OnnxNode, protos: Mapping[str, bytes]) -> onnx.NodeProto:
    from onnx import NodeProto, helper

    if node.name in protos:
        proto = NodeProto()
        proto.ParseFromString(protos[node.name])
        return proto
    attributes = {name: _attribute(value) for name, value in node.attributes.items() if not _is_empty(value)}
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, domain=node.domain, **attributes)


def _narrow_kind(tensor: TensorType) -> int:
    """ONNX's number of a type whose integers are narrower than their arrays'."""
    from onnx import TensorProto

    return getattr(TensorProto, f"{'U' if tensor.dtype == np.uint8 else ''}INT{tensor.bits}")


def _is_empty(value: object) -> bool:
    """A list of nothing, of which no type is known."""
    return isinstance(value, tuple) and not value


def _attribute(value: Any) -> Any:  # noqa: ANN401
    from onnx import numpy_helper

    if isinstance(value, np.ndarray):
        return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape))
    return list(value) if isinstance(value, tuple) else value
