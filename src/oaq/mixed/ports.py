"""What an ONNX file says of its inputs and outputs, read from its protobuf. Loads onnx when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oaq.capture.from_onnx.graph import OnnxGraph
from oaq.errors import FormatError
from oaq.mixed.inferred import infer
from oaq.mixed.program import Port, Sizes

if TYPE_CHECKING:
    import onnx

TYPE_NAMES: Final = {"float32": "float", "float64": "double"}
"""What ONNX Runtime calls types otherwise than NumPy does."""
LARGEST_INFERRED: Final = 1 << 28
"""Bytes of a model beyond which ONNX's inference, which copies it, is not asked."""


def check_types(model: onnx.ModelProto, where: str) -> None:
    """Refuse inputs and outputs of a type that ONNX does not have.

    Raises:
        FormatError: naming the first.
    """
    from onnx import TensorProto

    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.tensor_type.elem_type
        if kind not in TensorProto.DataType.values():
            raise FormatError(f"{where}: {value.name!r} is of the type {kind}, which ONNX does not have: it is damaged")


def input_ports(model: onnx.ModelProto) -> tuple[Port, ...]:
    """The inputs that are not initializers too, in the file's order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return tuple(_port(value) for value in model.graph.input if value.name not in constants)


def output_ports(model: onnx.ModelProto, inputs: tuple[Port, ...], graph: OnnxGraph | None) -> tuple[Port, ...]:
    """The outputs, in the file's order; what it does not say of them is taken from ``graph``.

    Args:
        model: the file.
        inputs: of the file: where their batch is open, so is that of an output whose sizes were inferred.
        graph: the file, read; None if that was not possible.
    """
    ports = []
    declared = list(model.graph.output)
    if any(port.shape is None for port in map(_port, declared)):
        declared = _inferred(model)
    open_batch = next((port.shape[0] for port in inputs if port.shape and not isinstance(port.shape[0], int)), 0)
    for port in map(_port, declared):
        inferred = graph.types.get(port.name) if graph is not None else None
        shape, dtype = port.shape, port.dtype
        if graph is not None and inferred is not None and inferred.shape is not None:
            sizes: Sizes = inferred.shape
            if open_batch != 0 and sizes and sizes[0] == graph.batch:
                sizes = (open_batch, *sizes[1:])
            declared_sizes = shape if shape is not None and len(shape) == len(sizes) else (None,) * len(sizes)
            shape = tuple(inner if outer is None else outer for outer, inner in zip(declared_sizes, sizes, strict=True))
        if inferred is not None and not dtype and inferred.dtype is not None:
            dtype = inferred.dtype.name
        ports.append(Port(port.name, dtype, shape))
    return tuple(ports)


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The outputs with what ONNX infers of them, sizes that are left open by their names."""
    outputs = list(model.graph.output)
    if model.ByteSize() > LARGEST_INFERRED:
        return outputs
    inferred = {value.name: value for value in infer(model)}
    return [inferred.get(value.name, value) for value in outputs]


def type_name(dtype: str) -> str:
    """As ONNX Runtime writes it.

    >>> type_name("float32"), type_name("int64")
    ('tensor(float)', 'tensor(int64)')
    """
    return f"tensor({TYPE_NAMES.get(dtype, dtype)})"


def _port(value: onnx.ValueInfoProto) -> Port:
    from onnx import TensorProto, helper

    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.elem_type:
        return Port(value.name, "", None)
    string = tensor.elem_type == TensorProto.STRING
    dtype = "string" if string else helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return Port(value.name, dtype, _sizes(tensor) if tensor.HasField("shape") else None)


def _sizes(tensor: onnx.TypeProto.Tensor) -> Sizes:
    """A size that is not positive is an open one: some exporters write -1."""
    return tuple(dim.dim_value if dim.dim_value > 0 else _name(dim.dim_param) for dim in tensor.shape.dim)


def _name(size: str) -> str | None:
    """None for what inference calls by a number."""
    return None if size.startswith("unk__") else size or None
