"""What was measured and what came of it, side by side: truth, first guess, float, integers, error."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.tasks.task import Picture
from recipes.qpan.scoring import clipped
from recipes.superres.enlarge import side_by_side

LOUD: Final = 8.0
"""Factor of the picture of errors."""


def panels(truth: NDArray[np.floating], start: NDArray[np.floating], *answers: NDArray[np.floating]) -> Picture:
    """One picture of (rows, columns) images: the last answer is that of the integers, whose error is shown, too."""
    exact, integers = answers
    error = np.abs(clipped(integers) - truth) * LOUD
    titles = ("input", "first guess", "float", "integers", f"error x {LOUD:g}")
    images = (truth, start, exact, integers, error)
    return side_by_side(titles, tuple(_grey(image) for image in images))


def _grey(image: NDArray[np.floating]) -> Picture:
    pixels = (clipped(image) * 255).round().astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2)
