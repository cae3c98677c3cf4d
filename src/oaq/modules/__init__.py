"""Torch modules that run proved layers, and what puts them in place of float ones.

This package imports torch.
"""

from __future__ import annotations

from oaq.modules.dynamic_linear import DynamicLinear
from oaq.modules.proximal import ProximalAverage
from oaq.modules.quantize_dynamic import quantize_dynamic

__all__ = ["DynamicLinear", "ProximalAverage", "quantize_dynamic"]
