"""From an ONNX file: ``read`` to plain values, then to an ``IntProgram`` where it holds integers."""

from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode, TensorType
from oaq.capture.from_onnx.importer import import_graph, import_quantized
from oaq.capture.from_onnx.reader import declared_inputs, decode, read

__all__ = [
    "OnnxGraph",
    "OnnxNode",
    "TensorType",
    "declared_inputs",
    "decode",
    "import_graph",
    "import_quantized",
    "read",
]
