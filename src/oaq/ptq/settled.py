"""The integers of one layer, once its weights are rounded: scales that settle, weights again, and the bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import LayerParams
from oaq.choose.bound import Bound, coarsened
from oaq.choose.piecewise import spread_ratio
from oaq.choose.round import LARGEST_BIAS, unpacked
from oaq.ptq.curves import Layer
from oaq.ptq.observe import Reals
from oaq.ptq.words import Ends, words_scale

Rerounding: TypeAlias = Callable[[Reals], NDArray[np.int8]]
"""Weights, rounded at these scales."""


def settled_params(
    layer: Layer,
    weight: np.ndarray,
    scale: Reals,
    ends: Ends,
    bound: Bound,
    *,
    corrects: bool = False,
    round_again: Rerounding | None = None,
) -> tuple[LayerParams, np.ndarray]:
    """Weights, their scale, and the bias at the scale of the sums; and the (N, K) integers in packed K order.

    Scales may grow, for a bias that has to fit or to the next multiplier that 16 bits hold; weights are then rounded
    by ``round_again``, all of them; to nearest if it is None. ``corrects``: what piecewise weights are multiplied with
    also makes up for what rounding does to their spread.
    """
    bias, s_x = layer.op.bias.astype(np.float64), ends.x.affine.scale
    spread = np.ones(len(scale))
    if corrects and layer.code_bits is not None:
        spread = spread_ratio(layer.rows, weight, scale)
    scale = (scale * spread).astype(np.float32).astype(np.float64)
    least = (np.abs(bias) / (s_x * LARGEST_BIAS)).astype(np.float32).astype(np.float64)
    settled = words_scale(layer.rows, weight, np.maximum(scale, least), bias, ends)
    if (moved := settled > scale).any():
        at = settled / spread
        rounded = bound.nearest(layer.rows, at) if round_again is None else round_again(at)
        weight = np.where(moved[:, None], rounded, weight)
        if layer.code_bits is not None and (excess := ~bound.holds(weight)).any():  # a longer tail than before
            weight[excess], coarse = coarsened(layer.rows[excess], at[excess], bound.of_outputs(excess))
            settled = settled.astype(np.float64)
            settled[excess] = (coarse * spread[excess]).astype(np.float32)
    steps = np.rint(bias / (s_x * settled)).astype(np.int32)
    return LayerParams(unpacked(weight, layer.op), settled.astype(np.float32), steps), weight  # type: ignore[arg-type]
