"""Another name for ``oaq.operators.table.output_shape``, while imports move there."""

from __future__ import annotations

from oaq.operators import Shape, output_shape

__all__ = ["Shape", "output_shape"]
