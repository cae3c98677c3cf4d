"""Float networks of which parts become integers: split, run whole, quantized by region, written as one ONNX file."""

from __future__ import annotations

from oaq.regions.quantize import QuantizedFile, quantize_onnx

__all__ = ["QuantizedFile", "quantize_onnx"]
