"""Unfolded iterations: phases of a step on the data and a step on the prior, trained as one network.

Every phase takes an image x of (n, 1, rows, columns) to x+:

    r = x - step * (A'A x - A'y)                 the data step: A is the sampling, y what was measured
    x+ = r + gather(backward(P(forward(spread(r)))))

``TwoLayerPhase`` is ISTA-Net+'s (1706.07929): two convolutions with ReLU between them before the threshold P, two
after it, all of 3 x 3 and 32 channels, without biases. ``LinearPhase`` has one on either side, and is a gradient step
on the envelope of the proximal average of several penalties on the filters' coefficients (2105.06211):

    x+ = r - step * synthesize(c - P(c)),   c = analyse(r)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from oaq.capture.polyline import Polyline
from oaq.data.arrays import read_named
from oaq.errors import FormatError
from oaq.modules.proximal import Penalty, ProximalAverage

Normal = Callable[[torch.Tensor], torch.Tensor]
"""A'A of images (n, 1, rows, columns)."""
WIDTH: Final = 32
JUMP: Final = 1e-12
"""Within it of 0 a negative threshold's jump lies."""
PARTS: Final = {
    "lambda_step": "step",
    "soft_thr": "shrink.threshold",
    "conv_D": "spread.weight",
    "conv1_forward": "rise.weight",
    "conv2_forward": "analyse.weight",
    "conv1_backward": "fall.weight",
    "conv2_backward": "synthesize.weight",
    "conv_G": "gather.weight",
}
"""Names of a two-layer phase by those of ISTA-Net+'s published weights."""


class SoftThreshold(nn.Module):
    """sign(c) max(|c| - threshold, 0); of a threshold below 0, as training may leave it, a jump at 0.

    Attributes:
        threshold: (1,).
    """

    def __init__(self, channels: int, threshold: float) -> None:
        super().__init__()
        self.channels = channels
        self.threshold = nn.Parameter(torch.tensor([threshold]))

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        """(n, C, ...) to the same shape."""
        return torch.sign(c) * F.relu(c.abs() - self.threshold)

    def polyline(self) -> Polyline:
        """What each channel computes, for capture."""
        threshold = float(self.threshold.detach())
        knee, jump = max(threshold, JUMP), max(-threshold, 0.0)
        places, values = np.array([[-knee, 0.0, knee]]), np.array([[-jump, 0.0, jump]])
        return Polyline(*(np.repeat(part, self.channels, 0) for part in (np.ones((1, 2)), places, values)))


class TwoLayerPhase(nn.Module):
    """A phase of ISTA-Net+.

    Attributes:
        step: (1,) of the data step.
        shrink: the soft threshold of all channels.
        spread, rise, analyse: image to features to coefficients.
        fall, synthesize, gather: and back.
    """

    def __init__(self, width: int = WIDTH, threshold: float = 0.01) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor([0.5]))
        self.shrink = SoftThreshold(width, threshold)
        self.spread = _window(1, width)
        self.rise, self.analyse = _window(width, width), _window(width, width)
        self.fall, self.synthesize = _window(width, width), _window(width, width)
        self.gather = _window(width, 1)

    @property
    def entry(self) -> nn.Conv2d:
        """The layer that reads the image."""
        return self.spread

    def correction(self, features: torch.Tensor) -> torch.Tensor:
        """What is added to the image, (n, 1, rows, columns), from what ``entry`` gives."""
        c = self.analyse(F.relu(self.rise(features)))
        return self.gather(self.synthesize(F.relu(self.fall(self.shrink(c)))))

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """The step on the prior: (n, 1, rows, columns) to the same shape."""
        return r + self.correction(self.entry(r))


class LinearPhase(nn.Module):
    """A gradient step on penalties of the coefficients of filters.

    Attributes:
        step: (1,) of the data step; that on the prior is part of ``synthesize``.
        analyse: image to coefficients, 3 x 3.
        shrink: c - P(c) of each channel.
        synthesize: and back; begins as the transposed filters.
    """

    def __init__(self, width: int, penalties: Sequence[Penalty], threshold: float = 0.01) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor([0.5]))
        self.analyse, self.synthesize = _window(1, width), _window(width, 1)
        self.shrink = ProximalAverage(width, threshold, penalties=penalties)
        with torch.no_grad():
            self.analyse.weight.copy_(filters(width))
            self.synthesize.weight.copy_(self.analyse.weight.flip(2, 3).transpose(0, 1) / width)

    @property
    def entry(self) -> nn.Conv2d:
        """The layer that reads the image."""
        return self.analyse

    def correction(self, features: torch.Tensor) -> torch.Tensor:
        """What is added to the image, (n, 1, rows, columns), from what ``entry`` gives."""
        return -self.synthesize(self.shrink(features))

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """The step on the prior: (n, 1, rows, columns) to the same shape."""
        return r + self.correction(self.entry(r))


def filters(width: int) -> torch.Tensor:
    """(width, 1, 3, 3) of length 1: the cosine basis without the mean, then random ones without mean."""
    at = torch.arange(3)
    waves = torch.stack([torch.cos(torch.pi * (at + 0.5) * k / 3) for k in range(3)])
    basis = torch.einsum("ai,bj->abij", waves, waves).reshape(9, 3, 3)[1:]
    noise = torch.randn(max(width - 8, 0), 3, 3)
    rows = torch.cat([basis, noise - noise.mean((1, 2), keepdim=True)])[:width]
    return (rows / rows.flatten(1).norm(dim=1)[:, None, None])[:, None]


Phase = TwoLayerPhase | LinearPhase


class Unfolded(nn.Module):
    """Phases one after the other, with a data step before each.

    Attributes:
        phases: each with a ``step``, and what it does to an image.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        super().__init__()
        self.phases = nn.ModuleList(phases)

    def steps(self) -> list[tuple[Phase, float]]:
        """Each phase and the step before it."""
        return [(phase, float(phase.step.detach())) for phase in self.phases]  # type: ignore[misc, arg-type]

    def forward(self, x: torch.Tensor, measured: torch.Tensor, normal: Normal) -> torch.Tensor:
        """The image after all phases.

        Args:
            x: (n, 1, rows, columns) start.
            measured: A'y, of the same shape.
            normal: A'A.
        """
        for phase in self.phases:
            x = phase(data_step(x, measured, normal, phase.step))  # type: ignore[arg-type]
        return x


def data_step(x: torch.Tensor, measured: torch.Tensor, normal: Normal, step: torch.Tensor) -> torch.Tensor:
    """X less ``step`` times the gradient of half the squared distance to the measurements."""
    return x - step * (normal(x) - measured)


def fourier_normal(mask: NDArray[Any]) -> Normal:
    """A'A of Fourier sampling with a mask (rows, columns) of 0 and 1."""
    sampled = torch.from_numpy(np.ascontiguousarray(mask, np.float32))
    return lambda x: torch.fft.ifft2(sampled * torch.fft.fft2(x)).real


def block_normal(rows: NDArray[Any], side: int) -> Normal:
    """A'A of blocks of (n, 1, side, side), measured by a matrix (m, side * side)."""
    matrix = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
    product = matrix.T @ matrix
    return lambda x: (x.flatten(1) @ product).view(-1, 1, side, side)


def published(path: Path) -> Unfolded:
    """ISTA-Net+ with the weights of an archive of arrays (.npz), named as its authors name them.

    Raises:
        FormatError: the file cannot be read, or holds other arrays.
    """
    arrays = _arrays(path)
    phases = 1 + max((int(match[1]) for name in arrays if (match := re.match(r"fcs\.(\d{1,3})\.", name))), default=-1)
    names = {f"fcs.{at}.{part}": f"phases.{at}.{place}" for at in range(phases) for part, place in PARTS.items()}
    if not phases or set(names) != set(arrays):
        raise FormatError(f"{path}: holds {len(arrays)} arrays, not {', '.join(PARTS)} of phases fcs.0, fcs.1, ...")
    broken = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    if broken:
        raise FormatError(f"{path}: {broken[0]} has entries that are not finite")
    net = Unfolded([TwoLayerPhase() for _ in range(phases)])
    state = {names[name]: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise FormatError(f"{path}: arrays of other shapes than ISTA-Net+'s: {error}") from error
    return net.eval()


def _arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        return {name: np.asarray(values, np.float32) for name, values in read_named(path).items()}
    except (FormatError, ValueError, TypeError) as error:  # of the file, or of texts in it
        raise FormatError(
            f"{path}: is not an archive of arrays (.npz) that opens: {error.__cause__ or error}"
        ) from error


def _window(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.xavier_normal_(convolution.weight)
    return convolution
