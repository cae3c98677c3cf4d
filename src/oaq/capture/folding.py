"""Numbers that become part of layers: clamps composed, constants per channel, batch norms, float32 at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatArray, FloatClamp
from oaq.capture.location import Location
from oaq.errors import ProgramError
from oaq.operators.tensor import Shape

Floats = NDArray[np.float64]


def channel_numbers(number: Floats, shape: Shape, site: Location) -> Floats:
    """A constant beside an activation of ``shape`` that is one number, or one per channel, as () or (C,).

    Raises:
        UnsupportedOp: it is something else, or not finite.
    """
    if not np.all(np.isfinite(number)):
        raise site.unsupported("the constant holds NaN or infinity")
    if number.size == 1:
        return number.reshape(())
    expected = (shape[0], *(1,) * (len(shape) - 1))
    if number.size == shape[0] and number.shape[-len(expected) :] == expected:
        return number.reshape(-1)
    raise site.unsupported(f"a constant of shape {number.shape}; one number or one per channel can be taken")


def batch_norm_numbers(
    statistics: tuple[Floats, Floats], epsilon: float, affine: tuple[Floats | None, Floats | None], site: Location
) -> tuple[Floats, Floats]:
    """Scale and shift, (C,) each, of a batch norm in evaluation.

    Args:
        statistics: running mean and variance.
        epsilon: added to the variance.
        affine: weight and bias.
        site: for the message.

    Raises:
        ProgramError: a variance is not positive.
    """
    mean, variance = statistics[0], statistics[1] + epsilon
    if np.any(variance <= 0):
        raise ProgramError(
            f"{site.shown}: {int((variance <= 0).sum())} of {variance.size} running variances, with eps {epsilon}, are "
            f"not positive (least {variance.min()}); the file of weights is damaged"
        )
    scale = 1.0 / np.sqrt(variance)
    if affine[0] is not None:
        scale = scale * affine[0]
    shift = -mean * scale
    return scale, shift if affine[1] is None else shift + affine[1]


def narrowed(numbers: NDArray[np.floating]) -> FloatArray:
    """As float32; what is too large becomes infinite, for ``append`` and ``change`` to refuse."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def compose(first: FloatClamp | None, second: FloatClamp) -> FloatClamp | None:
    """One clamp that does what two do; None if nothing but a constant would be left."""
    if first is None:
        first = (None, None)

    def inside(bound: float | None, otherwise: float | None) -> float | None:
        if bound is None:
            return otherwise
        low = bound if second[0] is None else max(bound, second[0])
        return low if second[1] is None else min(low, second[1])

    lo, hi = inside(first[0], second[0]), inside(first[1], second[1])
    return None if lo is not None and hi is not None and lo >= hi else (lo, hi)
