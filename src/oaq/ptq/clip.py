"""From what a tensor held to its affine map and effective range, for any number of steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import TensorParams
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.ptq.entropy import candidate_parts, divergences
from oaq.ptq.observe import Histogram

ClipMethod = Literal["mse", "minmax", "percentile", "entropy"]
CALIBRATIONS: Final[tuple[ClipMethod, ...]] = ("mse", "minmax", "percentile", "entropy")
PERCENTILE: Final = 99.99
SHRINK: Final = tuple(float(2.0 ** (-step / 8)) for step in range(20))
"""Parts of the observed range that the MSE search tries."""
SMALLEST: Final = 1e-6
"""Least real range of a tensor: one that is always zero still needs a scale."""


UNEVEN: Final = 1.0001
"""Factor by which a round scale grows."""
DIGITS: Final = 12
"""Last bits of a scale: near a multiple of 2**DIGITS it is round."""


@dataclass(frozen=True)
class Clip:
    """A choice for one tensor, and its squared error summed over the histogram's weight."""

    params: TensorParams
    error: float


def affine_range(lo: float, hi: float, steps: int) -> TensorParams:
    """``steps`` steps over [lo, hi], widened to hold 0; the effective range starts at 0.

    A range that starts at 0.0 keeps zero point 0.
    """
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    if hi - lo < SMALLEST:
        hi = lo + SMALLEST
    scale = (hi - lo) / steps
    zero_point = min(max(round(-lo / scale), 0), steps)
    if 0 < zero_point < steps:  # rounding the zero point moved one end inwards: widen so that both ends are held
        scale = max(-lo / zero_point, hi / (steps - zero_point))
    return TensorParams(Affine(scale, zero_point), IntRange(0, steps))


def uneven(params: TensorParams) -> TensorParams:
    """``params`` with a scale that is not round.

    Where s_y is 3 / 64, say, products s_x * s_w that give some multiplier after division by it lie on a coarse grid,
    and hundreds of neighbouring words (``numerics.words``) may be none that float32 arithmetic makes.
    """
    affine, last = params.affine, 1 << DIGITS
    bits = int(np.float32(affine.scale).view(np.int32))
    if last // 8 <= bits % last <= last - last // 8:
        return params
    return TensorParams(Affine(affine.scale * UNEVEN, affine.zero_point), params.range)


def choose_clip(histogram: Histogram, steps: int, calibration: ClipMethod) -> Clip:
    """The best affine map with ``steps`` steps.

    Args:
        histogram: of the tensor.
        steps: q_hi, 1..255: the effective range is [0, steps].
        calibration: "minmax" holds every value seen; "percentile" cuts the farthest 0.01 %; "mse" minimises the
            weighted squared error, rounding and cutting together; "entropy" keeps most of the distribution.
    """
    lo, hi = occupied(histogram)
    if calibration == "percentile":
        lo, hi = percentile(histogram, PERCENTILE)
    parts = SHRINK if calibration == "mse" else (1.0,)
    if calibration == "entropy":
        parts = (_most_telling(histogram, steps),)
    values, weight = histogram.centres(), histogram.weight
    best: Clip | None = None
    for part in parts:
        params = uneven(affine_range(lo * part, hi * part, steps))
        error = float(np.dot(weight, (rounded(values, params) - values) ** 2))
        if best is None or error < best.error:
            best = Clip(params, error)
    if best is None:
        raise ValueError("no clip to choose from")
    return best


def _most_telling(histogram: Histogram, steps: int) -> float:
    """The part of the observed range that "entropy" takes; of equals the widest."""
    parts = candidate_parts(len(histogram.count), steps)
    candidates = [affine_range(histogram.lo * part, histogram.hi * part, steps) for part in parts]
    return parts[int(divergences(histogram, candidates).argmin())]


def rounded(values: NDArray[np.float64], params: TensorParams) -> NDArray[np.float64]:
    """Quantize and dequantize."""
    scale, zero = params.affine.scale, params.affine.zero_point
    return np.clip(np.rint(values / scale), params.range.lo - zero, params.range.hi - zero) * scale


def occupied(histogram: Histogram) -> tuple[float, float]:
    """Least and most, to within a bin; exact if the histogram spans what was seen."""
    return histogram.lo, histogram.hi


def percentile(histogram: Histogram, percent: float) -> tuple[float, float]:
    """The interval, holding 0, outside which (100 - percent) % of the values lie, on each side that has any."""
    total = np.cumsum(histogram.count)
    width = (histogram.hi - histogram.lo) / len(total)
    cut = total[-1] * (1 - percent / 100)
    first = int(np.searchsorted(total, cut, side="right"))
    last = int(np.searchsorted(total, total[-1] - cut, side="left"))
    return min(histogram.lo + first * width, 0.0), max(histogram.lo + (last + 1) * width, 0.0)
