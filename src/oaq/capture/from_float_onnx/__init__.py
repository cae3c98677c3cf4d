"""From an ONNX file in float to a ``FloatGraph``."""

from oaq.capture.from_float_onnx.normalize import normalize

__all__ = ["normalize"]
