"""New integers for one layer: weights of its unsafe outputs, their scales, their biases, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.repair.channels import fitted, fitted_together
from oaq.repair.limits import Limits
from oaq.repair.metric import Metric

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
ScaleForm = Literal["own", "shared", "fixed"]
"""What a file can hold: a scale for each output, one for the whole layer, or none that could be changed."""
SEVEN_BITS: Final = 64 / 127
"""What ``reduce_range`` makes of the full range of int8."""


@dataclass(frozen=True, eq=False)
class Change:
    """New weights, scales and bias shifts of one layer.

    Attributes:
        outputs: (U,) that are changed: all if ``together``.
        weight: (N, K) all weights, changed or not.
        factor: (U,) by which the scales of ``outputs`` grow, exactly as float32 scales do.
        scales: (N,) float32.
        shift: (U,) to be added to the sums of ``outputs``, in their old steps: what new weights do to the mean; 0 where
            it is not known.
        together: the layer has one scale and keeps one: it is coarser for every output.
        sqnr, sqnr_seven_bits: see ``LayerRepair``.
    """

    outputs: NDArray[np.intp]
    weight: Ints
    factor: Reals
    scales: NDArray[np.float32]
    shift: Reals
    together: bool
    sqnr: float
    sqnr_seven_bits: float


def change(
    weight: Ints,
    outputs: NDArray[np.intp],
    scales: NDArray[np.float32],
    limits: Limits,
    metric: Metric,
    *,
    form: ScaleForm,
    coarser: Reals,
) -> Change:
    """Bring some outputs of a layer inside its limits; the others stay as they are unless all share one scale.

    Args:
        weight: (N, K) integers.
        outputs: (U,) which to change.
        scales: (N,) of them.
        limits: to keep.
        metric: of its operands.
        form: which scales the file can hold.
        coarser: (U,) by what scales must grow at least; above 1 only unless ``form`` is "fixed".
    """
    everything = np.arange(len(weight))
    own = metric.for_outputs(outputs, len(weight))
    nearest = fitted(weight[outputs], limits, own, rescales=form == "own", coarser=coarser)
    together = False
    if form == "shared":
        shared = fitted_together(
            weight, limits, metric.for_outputs(everything, len(weight)), float(coarser.max(initial=1.0))
        )
        # All outputs have one scale, so their errors are of one unit.
        together = bool(coarser.max(initial=1.0) > 1.0 or shared.error.sum() < nearest.error.sum())
        if together:
            outputs, nearest = everything.astype(np.intp), shared
    new = weight.copy()
    new[outputs] = nearest.weight
    new_scales = scales.copy()
    new_scales[outputs] = (scales[outputs].astype(np.float64) * nearest.factor).astype(np.float32)
    factor = new_scales[outputs].astype(np.float64) / scales[outputs].astype(np.float64)
    error = np.zeros(weight.shape)
    error[outputs] = nearest.weight * factor[:, None] - weight[outputs]
    all_rows = metric.for_outputs(everything, len(weight))
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
        together,
        _sqnr(weight, error, scales, all_rows),
        _sqnr(weight, coarse, scales, all_rows),
    )


def _sqnr(weight: Ints, error: Reals, scales: NDArray[np.float32], metric: Metric) -> float:
    """dB, over all outputs of a layer."""
    square = scales.astype(np.float64) ** 2
    signal = float((metric.errors(weight.astype(np.float64)) * square).sum())
    noise = float((metric.errors(error) * square).sum())
    return inf if noise == 0 or signal == 0 else 10 * log10(signal / noise)
