"""ONNX in QDQ form: float operators between DequantizeLinear and QuantizeLinear, integers when a runtime fuses them.

Importing this loads the ``onnx`` package; ``oaq.export`` does so only when asked to write a file.
"""

from __future__ import annotations

from oaq.export.onnx_qdq import model
from oaq.export.onnx_qdq.model import build, save

__all__ = ["build", "model", "save"]
