"""Scales that give back a program's multipliers.

ONNX has no multipliers, only scales; a runtime multiplies and divides them itself. ONNX Runtime's QLinearConv and QGemm
compute float32(float32(s_x * s_w) / s_y), the law programs are made by, so a weight scale that reproduces each
multiplier exists whenever the program came from scales at all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import UnsupportedOp
from oaq.numerics import multipliers
from oaq.numerics.requantize import Requantize

FLOAT_TOLERANCE: Final = 2.0**-20
"""Relative; for operators whose rescaling other runtimes do in their own float order anyway (Add, pools, ...)."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.float32] | NDArray[np.int32]


def weight_scales(multiplier: Numbers, s_x: float, s_y: float, where: str) -> Floats:
    """For each multiplier a float32 s_w with float32(float32(s_x * s_w) / s_y) == multiplier, bit for bit.

    Raises:
        UnsupportedOp: one has none; the message names ``where`` and the output.
    """
    result, exists = multipliers.weight_scales(multiplier, s_x, s_y)
    if not exists.all():
        n = int(np.argmin(exists))
        raise UnsupportedOp(
            f"{where}, output {n}: no weight scale s_w gives the multiplier {float(multiplier[n])!r} "
            f"as (s_x * s_w) / s_y in float32, with s_x = {s_x!r}, s_y = {s_y!r}; "
            "ONNX could only approximate it. Build the program from scales"
        )
    return result


def check_ratio(requantize: Requantize, ratio: NDArray[np.floating], where: str) -> None:
    """Refuse a multiplier that the tensors' scales do not imply.

    Raises:
        UnsupportedOp: it differs by more than the rounding of its computation, or than half of a fixed-point
            multiplier's last bit.
    """
    multiplier, room = requantize.multiplier.astype(np.float64), np.float64(0)
    if requantize.shift is not None:
        unit = np.ldexp(1.0, -(requantize.shift if requantize.then is None else requantize.shift + requantize.then))
        multiplier, room = multiplier * unit, unit / 2
    ratio = ratio.astype(np.float64)
    excess = np.abs(multiplier - ratio) - FLOAT_TOLERANCE * ratio - room
    if not np.all(excess <= 0):
        n = int(np.argmax(excess))
        raise UnsupportedOp(
            f"{where}: multiplier {n} is {float(multiplier[n])!r}, the tensors' scales give "
            f"{float(ratio.ravel()[n])!r}; ONNX has only the scales"
        )
