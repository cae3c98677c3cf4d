"""Super-resolution: an image out of a smaller one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import FormatError, ProgramError
from oaq.tasks.task import Metric, Outputs, Picture, Task, the_output

Image = NDArray[np.float64]
LUMA = np.array([65.481, 128.553, 24.966]) / 255
"""BT.601 luma of RGB in 0..1, whose black is 16/255: what the field's PSNR is taken on."""
WINDOW, SIGMA = 11, 1.5
"""Side and deviation of the windows of SSIM (Wang et al., 2004)."""
LARGEST = 1e30
"""Values of black and white stay below it, so that what is computed of them stays finite."""


@dataclass(frozen=True)
class Upscaler:
    """What an upscaler's output means.

    Attributes:
        output: (channels, rows, columns) or (rows, columns); "" is the first.
        low, high: values of black and white in the output.
        border: pixels left out on every side when answers are scored, the field's habit being the scale.
        luma: whether one channel is BT.601 luma, black 16/255, of a photo in colour: pictures then take their colour
            from the photo, enlarged by Pillow's bicubic filter. Otherwise one channel is a grey picture.
    """

    output: str = ""
    low: float = 0.0
    high: float = 1.0
    border: int = 2
    luma: bool = False

    def __post_init__(self) -> None:
        if not -LARGEST <= self.low < self.high <= LARGEST or self.high - self.low < 1 / LARGEST:
            raise FormatError(f"white ({self.high}) is above black ({self.low}), both within {LARGEST:g} of 0")
        if self.border < 0:
            raise FormatError(f"a border is 0 pixels or more, not {self.border}")


def upscale(preprocess: Preprocess, decoder: Upscaler | None = None) -> Task:
    """The task of an upscaler."""
    decoder = decoder or Upscaler()
    return Task(
        name="upscale",
        preprocess=preprocess,
        labels=(),
        decoder=decoder,
        decode=partial(decode_image, decoder),
        draw=partial(draw_image, decoder),
        entries=image_entries,
        metrics=upscale_metrics(decoder.border),
    )


def upscale_metrics(border: int) -> tuple[Metric, ...]:
    """PSNR, then SSIM, of luma without ``border`` pixels on every side, each the mean over the images."""
    signal, likeness = partial(_mean_of, psnr, border), partial(_mean_of, ssim, border)
    return (
        Metric("PSNR", "dB", "higher", signal, lambda exact, rounded: signal(rounded, exact)),
        Metric("SSIM", "", "higher", likeness, lambda exact, rounded: likeness(rounded, exact)),
    )


def decode_image(decoder: Upscaler, outputs: Outputs) -> Image:
    """(rows, columns) or (rows, columns, 3) in 0..1; what is NaN is black.

    Raises:
        ProgramError: the output is not an image of one or three channels.
    """
    y = the_output(outputs, decoder.output, "upscale").astype(np.float64)
    shape = y.shape
    if y.ndim == 3 and y.shape[0] == 1:
        y = y[0]
    if y.ndim == 3:
        y = np.moveaxis(y, 0, -1)
    if y.ndim not in (2, 3) or (y.ndim == 3 and y.shape[2] != 3):
        raise ProgramError(f"upscale: an output is (1 or 3, rows, columns) or (rows, columns), not {shape}")
    inside = np.clip(np.nan_to_num(y, nan=decoder.low), decoder.low, decoder.high)
    return (inside - decoder.low) / (decoder.high - decoder.low)


def luma(image: Image) -> Image:
    """(rows, columns) brightness in 0..1 of an image in 0..1; one of a single channel is its own."""
    return image if image.ndim == 2 else image @ LUMA + 16 / 255


def psnr(image: Image, true: Image) -> float:
    """Peak signal to noise ratio of two images in 0..1, dB: -10 log10 of the mean squared difference; inf if equal."""
    noise = float(np.mean((image - true) ** 2))
    return math.inf if noise == 0 else -10 * math.log10(noise)


def ssim(image: Image, true: Image) -> float:
    """Structural similarity of two images in 0..1: 11 x 11 Gaussian windows that lie inside (Wang et al., 2004).

    Raises:
        ValueError: the images are smaller than a window.
    """
    if min(image.shape) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} x {WINDOW} pixels at least, not {image.shape}")
    first, second = 0.01**2, 0.03**2
    mean_a, mean_b = _blur(image), _blur(true)
    var_a, var_b = _blur(image**2) - mean_a**2, _blur(true**2) - mean_b**2
    covariance = _blur(image * true) - mean_a * mean_b
    shares = (2 * mean_a * mean_b + first) * (2 * covariance + second)
    return float(np.mean(shares / ((mean_a**2 + mean_b**2 + first) * (var_a + var_b + second))))


def _blur(image: Image) -> Image:
    """A Gaussian over the windows that lie inside the image."""
    at = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(at**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    rows = np.lib.stride_tricks.sliding_window_view(image, WINDOW, axis=0) @ weights
    return np.lib.stride_tricks.sliding_window_view(rows, WINDOW, axis=1) @ weights


def _mean_of(measure: Any, border: int, answers: Sequence[Image], truths: Sequence[Image]) -> float:  # noqa: ANN401
    values = []
    for answer, true in zip(answers, truths, strict=True):
        if answer.shape[:2] != true.shape[:2]:
            raise ValueError(f"an image of {answer.shape[:2]} answers one of {true.shape[:2]}")
        least = WINDOW if measure is ssim else 1
        if min(answer.shape[:2]) - 2 * border < least:
            raise ProgramError(
                f"upscale: {measure.__name__} is taken on {least} x {least} pixels at least; images are of "
                f"{answer.shape[:2]}, {border} on every side left out. Give larger ones, or a smaller border"
            )
        inner = slice(border, -border or None)
        values.append(measure(luma(answer)[inner, inner], luma(true)[inner, inner]))
    return float(np.mean(values)) if values else math.inf


def image_entries(answer: Image, window: Window, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The size of the image; its pixels are what ``--save`` writes."""
    del window, size
    return [{"height": answer.shape[0], "width": answer.shape[1]}]


def draw_image(decoder: Upscaler, photo: Picture, answer: Image, window: Window) -> Picture:
    """The image itself; luma with the colour of what the network saw of the photo."""
    if answer.ndim == 2 and decoder.luma:
        answer = np.clip(with_colour(answer, window_pixels(photo, window, answer.shape[:2])), 0.0, 1.0)
    pixels = (answer * 255).round().astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def window_pixels(photo: Picture, window: Window, size: tuple[int, ...]) -> Image:
    """What lies inside ``window`` of a photo, as (rows, columns, 3) in 0..1 by Pillow's bicubic filter."""
    from PIL import Image as Pillow

    rows, columns = size
    right, bottom = min(window.x + window.width, photo.shape[1]), min(window.y + window.height, photo.shape[0])
    box = (max(window.x, 0.0), max(window.y, 0.0), right, bottom)
    return np.asarray(Pillow.fromarray(photo).resize((columns, rows), Pillow.Resampling.BICUBIC, box=box)) / 255


def with_colour(brightness: Image, colour: Image) -> Image:
    """(rows, columns, 3) whose luma is ``brightness`` and whose differences of channels are those of ``colour``.

    Adding d to red, green and blue adds d * sum(LUMA) to luma and nothing to Cb and Cr.
    """
    return colour + ((brightness - luma(colour)) / LUMA.sum())[..., None]
