"""Functions with parameters of their own, from numbers that files and modules state."""

from __future__ import annotations

import numpy as np

from oaq.capture.folding import Floats
from oaq.capture.functions import STEEPEST
from oaq.capture.graph import FloatChannelFunction, FloatFunction
from oaq.capture.location import Location


def leaky_relu_of(slopes: Floats, channels: int, site: Location) -> FloatFunction | FloatChannelFunction:
    """X where it is positive, else x times its channel's slope; ``slopes`` are one number or (C,).

    Raises:
        UnsupportedOp: there are as many slopes as neither.
    """
    if slopes.size == 1 or np.ptp(slopes) == 0:
        return FloatFunction("leaky_relu", (float(slopes.reshape(-1)[0]),))
    if slopes.size != channels:
        raise site.unsupported(f"{slopes.size} slopes; oaq takes one, or one for each of {channels} channels")
    return FloatChannelFunction("leaky_relu", (tuple(map(float, slopes.reshape(-1))),))


def power_of(exponent: float, site: Location) -> FloatFunction:
    """X to the power of a number.

    Raises:
        UnsupportedOp: the result has a pole at 0, or is too steep for 8 bits.
    """
    if not 0 < exponent <= STEEPEST:
        raise site.unsupported(f"to the power of {exponent:g}; oaq takes exponents above 0, up to {STEEPEST:g}")
    return FloatFunction("sqrt") if exponent == 0.5 else FloatFunction("power", (float(exponent),))
