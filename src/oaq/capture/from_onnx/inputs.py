"""What is known of a node's inputs before it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oaq.capture.from_onnx.graph import Array, TensorType
from oaq.operators.tensor import Shape

Types = list[TensorType]


@dataclass(frozen=True)
class Inputs:
    """What is known of a node's inputs.

    Attributes:
        types: one per input, ``UNKNOWN`` where one is left out.
        constants: one per input; None where it is computed or left out.
        opset: version of ONNX's own operators.
    """

    types: Sequence[TensorType]
    constants: Sequence[Array | None]
    opset: int

    def shape(self, index: int) -> Shape | None:
        """Shape of input ``index``; None if unknown or left out."""
        return self.types[index].shape if index < len(self.types) else None

    def dtype(self, index: int) -> np.dtype[Any] | None:
        """Element type of input ``index``; None if unknown or left out."""
        return self.types[index].dtype if index < len(self.types) else None

    def constant(self, index: int) -> Array | None:
        """Value of that input; None if it is computed or left out."""
        return self.constants[index] if index < len(self.constants) else None
