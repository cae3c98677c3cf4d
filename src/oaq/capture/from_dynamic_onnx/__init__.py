"""ONNX files whose activations are quantized as they come: their layers of constant weights, without any shape."""

from __future__ import annotations

from oaq.capture.from_dynamic_onnx.importer import import_dynamic
from oaq.capture.from_dynamic_onnx.reader import DynamicFile, DynamicProduct, decode_dynamic, read_dynamic

__all__ = ["DynamicFile", "DynamicProduct", "decode_dynamic", "import_dynamic", "read_dynamic"]
