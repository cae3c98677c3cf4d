"""New integers for one layer: weights of its unsafe outputs, their scales, their biases, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.repair.channels import fitted
from oaq.repair.limits import Limits
from oaq.repair.metric import Metric

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
SEVEN_BITS: Final = 64 / 127
"""What ``reduce_range`` makes of the full range of int8."""


@dataclass(frozen=True, eq=False)
class Change:
    """New weights, scales and bias shifts of one layer.

    Attributes:
        outputs: (U,) that are changed.
        weight: (N, K) all weights, changed or not.
        factor: (U,) by which the scales of ``outputs`` grow, exactly as float32 scales do.
        scales: (N,) float32.
        shift: (U,) to be added to the sums of ``outputs``, in their old steps: what new weights do to the mean; 0 where
            it is not known.
        sqnr, sqnr_seven_bits: see ``LayerRepair``.
    """

    outputs: NDArray[np.intp]
    weight: Ints
    factor: Reals
    scales: NDArray[np.float32]
    shift: Reals
    sqnr: float
    sqnr_seven_bits: float


def change(
    weight: Ints,
    outputs: NDArray[np.intp],
    scales: NDArray[np.float32],
    limits: Limits,
    metric: Metric,
    *,
    rescales: bool,
) -> Change:
    """Bring some outputs of a layer inside its limits; the others stay as they are.

    Args:
        weight: (N, K) integers.
        outputs: (U,) which to change.
        scales: (N,) of them.
        limits: to keep.
        metric: of its operands.
        rescales: outputs may have scales of their own.
    """
    nearest = fitted(weight[outputs], limits, metric.for_outputs(outputs, len(weight)), rescales=rescales)
    new = weight.copy()
    new[outputs] = nearest.weight
    new_scales = scales.copy()
    new_scales[outputs] = (scales[outputs].astype(np.float64) * nearest.factor).astype(np.float32)
    factor = new_scales[outputs].astype(np.float64) / scales[outputs].astype(np.float64)
    error = np.zeros(weight.shape)
    error[outputs] = nearest.weight * factor[:, None] - weight[outputs]
    all_rows = metric.for_outputs(np.arange(len(weight)), len(weight))
    shift = np.zeros(len(outputs))
    if all_rows.mean is not None:
        shift = -(all_rows.mean[outputs] * error[outputs]).sum(axis=1)
    coarse = np.rint(weight * SEVEN_BITS) / SEVEN_BITS - weight
    return Change(
        outputs,
        new,
        factor,
        new_scales,
        shift,
        _sqnr(weight, error, scales, all_rows),
        _sqnr(weight, coarse, scales, all_rows),
    )


def _sqnr(weight: Ints, error: Reals, scales: NDArray[np.float32], metric: Metric) -> float:
    """dB, over all outputs of a layer."""
    square = scales.astype(np.float64) ** 2
    signal = float((metric.errors(weight.astype(np.float64)) * square).sum())
    noise = float((metric.errors(error) * square).sum())
    return inf if noise == 0 or signal == 0 else 10 * log10(signal / noise)
