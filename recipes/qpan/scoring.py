"""PSNR and SSIM as the field takes them for restoration: whole images, clipped to 0..1, not rounded; the mean."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.tasks.upscale import upscale_metrics

METRICS: Final = upscale_metrics(border=0)
"""PSNR, SSIM of answers and truths, lists of (rows, columns) in 0..1."""


def clipped(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """An image as it is scored."""
    return np.clip(np.asarray(image, np.float64), 0.0, 1.0)
