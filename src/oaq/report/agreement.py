"""Float outputs against integer outputs on the same inputs: evidence about precision, never about overflow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from oaq.report.data import Agreement

Real = NDArray[np.floating]


def sqnr_db(reference: Real, approximation: Real) -> float:
    """Signal to quantization noise ratio: 10 log10(sum reference**2 / sum (reference - approximation)**2).

    Args:
        reference: any shape.
        approximation: the same shape.

    Returns:
        Decibels; inf if they are equal, -inf if the reference is zero everywhere and the approximation is not.

    Raises:
        ValueError: the shapes differ or a value is NaN.

    >>> round(sqnr_db(np.array([10.0, 0.0]), np.array([10.0, 1.0])), 6)
    20.0
    """
    if reference.shape != approximation.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, approximation {approximation.shape}")
    exact = reference.astype(np.float64)
    signal = float(np.sum(exact**2))
    noise = float(np.sum((exact - approximation.astype(np.float64)) ** 2))
    if math.isnan(signal) or math.isnan(noise):
        raise ValueError("SQNR of NaN: one of the two outputs holds NaN")
    if noise == 0:
        return math.inf
    return -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def compare(
    float_logits: Real, int_logits: Real, labels: NDArray[np.integer] | None = None, points: int = 300
) -> Agreement:
    """Summarise two sets of outputs of the same images.

    Args:
        float_logits: (images, classes) of the float network.
        int_logits: (images, classes), dequantized outputs of the integer network.
        labels: (images,) true classes, if known.
        points: how many (float, int) pairs to keep for a scatter plot, evenly spaced over all outputs.

    Raises:
        ValueError: the shapes do not fit.
    """
    if float_logits.ndim != 2 or float_logits.shape != int_logits.shape or len(float_logits) == 0:
        raise ValueError(
            f"outputs are (images, classes), alike on both sides, not {float_logits.shape} and {int_logits.shape}"
        )
    first_float, first_int = float_logits.argmax(axis=1), int_logits.argmax(axis=1)
    right: list[int | None] = [None, None]
    if labels is not None:
        if labels.shape != first_float.shape:
            raise ValueError(f"{labels.shape} labels for {len(first_float)} images")
        right = [int(np.sum(first == labels)) for first in (first_float, first_int)]
    return Agreement(
        images=len(float_logits),
        top1_agree=int(np.sum(first_float == first_int)),
        logit_sqnr_db=sqnr_db(float_logits, int_logits),
        top1_float=right[0],
        top1_int=right[1],
        points=_sample(float_logits, int_logits, points),
    )


def _sample(x: Real, y: Real, count: int) -> tuple[tuple[float, float], ...]:
    """Evenly spaced by rank of ``x``, so that the tails (the logits that decide) are there."""
    order = np.argsort(x, axis=None)
    sampled = order[np.unique(np.linspace(0, order.size - 1, min(count, order.size)).round().astype(np.int64))]
    pairs = zip(x.reshape(-1)[sampled], y.reshape(-1)[sampled], strict=True)
    return tuple((round(float(a), 4), round(float(b), 4)) for a, b in pairs)
