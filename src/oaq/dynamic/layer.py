"""``DynamicLayer``: int8 or uint8 weights whose operands are quantized as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic.law import Law, check_law
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.program.pickling import flatten, rebuild

MIDDLE: Final = 128
"""Taken from uint8 weights, so that what is multiplied is int8."""


@dataclass(frozen=True, eq=False)
class DynamicLayer:
    """A matrix on the last axis, all of float32 but its products.

    With q and zx the operands under ``law``, for row m and output n, operation by operation in float32:

        t = sum_k (q[m, k] - zx[m]) * (w[n, k] - wz[n])       exact
        y = float(t) * (sx[m] * scale[n]) + bias[n]

    Attributes:
        name: for messages.
        weight: (N, K) int8 or uint8.
        scale: (N,) float32, positive.
        zero_point: (N,) of the weights' type.
        bias: (N,) float32, or None: nothing is added.
        law: how operands are quantized.
        constant: their scale and zero point under the law of that name; else None.
    """

    name: str
    weight: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[Any] | None = None
    bias: NDArray[np.float32] | None = None
    law: Law = "tensor"
    constant: Affine | None = None

    def __post_init__(self) -> None:
        weight = _frozen(self.weight)
        if weight.dtype not in (np.int8, np.uint8) or weight.ndim != 2 or not weight.size:
            raise ProgramError(
                f"{self.name}: weights are (N, K) int8 or uint8, not {weight.dtype} of shape {weight.shape}"
            )
        object.__setattr__(self, "weight", weight)
        outputs = len(weight)
        zero = np.zeros(1, weight.dtype) if self.zero_point is None else np.asarray(self.zero_point)
        object.__setattr__(self, "zero_point", _per_output(self.name, "zero points", zero, weight.dtype, outputs))
        scale = _per_output(self.name, "scales", np.asarray(self.scale), np.dtype(np.float32), outputs)
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            raise ProgramError(f"{self.name}: scales of weights are positive and finite")
        object.__setattr__(self, "scale", scale)
        if self.bias is not None:
            bias = _per_output(self.name, "biases", np.asarray(self.bias), np.dtype(np.float32), outputs)
            object.__setattr__(self, "bias", bias)
        check_law(self.law, self.constant)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by the constructor."""
        return rebuild, (flatten(self),)

    @property
    def outputs(self) -> int:
        """N."""
        return len(self.weight)

    @property
    def terms(self) -> int:
        """K."""
        return self.weight.shape[1]

    @property
    def multiplied(self) -> NDArray[np.int8]:
        """(N, K) int8 that kernels multiply: uint8 weights less 128."""
        return self.weight.view(np.int8) ^ np.int8(-MIDDLE) if self.weight.dtype == np.uint8 else self.weight

    @property
    def multiplied_zero(self) -> NDArray[np.int32]:
        """(N,) zero points of ``multiplied``."""
        assert self.zero_point is not None
        middle = MIDDLE if self.weight.dtype == np.uint8 else 0
        return self.zero_point.astype(np.int32) - np.int32(middle)

    @property
    def exact_weight(self) -> NDArray[np.int16]:
        """(N, K) weights less their zero points, in [-255, 255]."""
        assert self.zero_point is not None
        return self.weight.astype(np.int16) - self.zero_point.astype(np.int16)[:, None]


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


def _per_output(name: str, role: str, values: NDArray[Any], dtype: np.dtype[Any], outputs: int) -> NDArray[Any]:
    if values.dtype != dtype or values.size not in (1, outputs):
        raise ProgramError(
            f"{name}: {role} are {dtype}, one or one for each of {outputs} outputs, not {values.dtype} of shape "
            f"{values.shape}"
        )
    return _frozen(np.broadcast_to(values.reshape(-1), (outputs,)))
