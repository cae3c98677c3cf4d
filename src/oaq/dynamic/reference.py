"""The law of a dynamic layer, slowly: exact integers, then float32 operation by operation. Never a fallback."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic.law import QuantizedRows, quantize_rows
from oaq.dynamic.layer import DynamicLayer
from oaq.numerics.matmul import matmul


def run_reference(layer: DynamicLayer, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., K) reals to (..., N).

    Raises:
        ProgramError: a row has no scale.
    """
    rows = np.asarray(x, np.float32).reshape(-1, layer.terms)
    return multiply(layer, quantize_rows(rows, layer.law, layer.constant)).reshape(*x.shape[:-1], layer.outputs)


def exact_sums(layer: DynamicLayer, rows: QuantizedRows) -> NDArray[np.int64]:
    """(M, N) sums of the operands and the weights, both less their zero points."""
    return matmul(rows.q.astype(np.int64) - rows.zero_point[:, None], layer.exact_weight)


def multiply(layer: DynamicLayer, rows: QuantizedRows) -> NDArray[np.float32]:
    """(M, N) reals of quantized rows."""
    sums = exact_sums(layer, rows).astype(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # beyond float32 is infinite, as in any runtime
        unit: NDArray[np.float32] = rows.scale[:, None] * layer.scale
        y: NDArray[np.float32] = np.multiply(sums, unit, dtype=np.float32)
        return y if layer.bias is None else y + layer.bias
