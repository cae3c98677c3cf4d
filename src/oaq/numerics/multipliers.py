"""Multipliers of layers as float32 arithmetic makes them of scales, and back.

The law, in ONNX Runtime's order: float32(float32(s_x * s_w) / s_y). Not every float32 comes of it: about one word
(``numerics.words``) in three does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
REACH: Final = 3
"""Neighbouring float32 tried on each side. Three roundings (product, quotient, the ideal itself) move it by at most two
of its own steps and a half."""


def layer_multipliers(s_x: float, weight_scale: Floats, s_y: float) -> Floats:
    """(N,) multipliers of a layer: what its sums are requantized by."""
    return np.float32(s_x) * weight_scale / np.float32(s_y)


def weight_scales(
    multiplier: NDArray[np.generic], s_x: float, s_y: float, least: NDArray[np.floating] | float = 0.0
) -> tuple[Floats, NDArray[np.bool_]]:
    """For each multiplier the weight scale, of those that make it to the last bit, that is nearest to the quotient.

    Args:
        multiplier: (N,) positive.
        s_x: scale of the input.
        s_y: scale of the output.
        least: (N,) scales may not be finer.

    Returns:
        (N,) scales and (N,): there is one; where there is none, the quotient.
    """
    ideal = (multiplier.astype(np.float64) * float(np.float32(s_y)) / float(np.float32(s_x))).astype(np.float32)
    exact, result = np.zeros(len(ideal), np.bool_), ideal.copy()
    for distance in sorted(range(-REACH, REACH + 1), key=abs):
        candidate = _neighbour(ideal, distance)
        with np.errstate(all="ignore"):
            reproduces = layer_multipliers(s_x, candidate, s_y) == multiplier
            fits = reproduces & (candidate > 0) & np.isfinite(candidate) & (candidate >= least) & ~exact
        result[fits] = candidate[fits]
        exact |= fits
    return result, exact


def _neighbour(values: Floats, distance: int) -> Floats:
    """The float32 ``distance`` steps away; positive floats are ordered as their bits are."""
    return (values.view(np.int32) + np.int32(distance)).view(np.float32)
