"""What the bounds of Winograd's products cost: SQNR of networks whose 3 x 3 layers keep them.

Weights and operands are rounded and the layers computed in float, which decides no last bit but shows decibels. Layers
of 3 x 3, stride 1 and 16 channels or more keep the bounds; all others have 8 bits. Scales of weights are per output,
clipped where that lowers the squared error; rows of weights that sum to more than allowed are shrunk towards zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import nn

from recipes.data.photos import calibration
from recipes.detection import yolo
from recipes.networks import load_weights
from recipes.superres.networks import Edsr

CLIPS: Final = np.arange(1.03, 0.3, -0.03)
"""Scales that are compared, of the one that needs no clipping."""
PHOTOS: Final = 20
"""Half of them give ranges, half are scored."""
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bounds:
    """What a 3 x 3 layer keeps.

    Attributes:
        bits: of its operands.
        axes: of (N, C, 3, 3) weights whose integers together sum to at most ``limit`` in absolute value; () is each.
        limit: see ``axes``.
    """

    bits: int
    axes: tuple[int, ...] = ()
    limit: int = 127


DIRECT: Final = Bounds(8)
SUBJECTS: Final = {
    "direct, 8 bits": DIRECT,
    "operands of 7 bits alone": Bounds(7),
    "rows of weights alone": Bounds(8, (3,)),
    "F(2, 3)": Bounds(7, (3,)),
    "F(2, 3), pairs that saturate": Bounds(7, (3,), 64),
    "F(2 x 2, 3 x 3)": Bounds(6, (2, 3)),
}


class Operand:
    """Rounds what a layer reads, once ranges were seen."""

    def __init__(self, bits: int) -> None:
        self.levels, self.low, self.high, self.rounds = 2**bits - 1, 0.0, 0.0, False

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """A layer's inputs, as they are while ranges are collected; then in levels of the range."""
        (x,) = inputs
        if not self.rounds:
            self.low, self.high = min(self.low, x.min().item()), max(self.high, x.max().item())
            return inputs
        scale = (self.high - self.low) / self.levels or 1.0
        zero = round(-self.low / scale)
        return (((x / scale).round() + zero).clamp(0, self.levels).sub(zero) * scale,)


def rounded(weight: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """(N, C, ...) weights as integers times a scale per output, within the bounds."""
    return torch.stack([_output(channel[None], bounds)[0] for channel in weight])


def _output(weight: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    extent = weight.abs().sum(bounds.axes).max() if bounds.axes else weight.abs().max()
    candidates = (
        [_integers(weight, bounds, float(clip * extent / bounds.limit)) for clip in CLIPS] if extent else [weight]
    )
    return min(candidates, key=lambda levels: float(((levels - weight) ** 2).sum()))


def _integers(weight: torch.Tensor, bounds: Bounds, scale: float) -> torch.Tensor:
    levels = (weight / scale).round()
    if not bounds.axes:
        return levels.clamp(-bounds.limit, bounds.limit) * scale
    sums = levels.abs().sum(bounds.axes, keepdim=True)
    shrunk = torch.trunc(levels * (bounds.limit / sums.clamp(min=bounds.limit)))
    return torch.where(sums > bounds.limit, shrunk, levels) * scale


def keeps_bounds(module: nn.Module) -> bool:
    """Whether F(2, 3) could compute the layer and pay: 3 x 3, stride 1, in one group, 16 channels."""
    if not isinstance(module, nn.Conv2d) or module.groups > 1 or module.in_channels < 16:
        return False
    return (module.kernel_size, module.stride, module.dilation) == ((3, 3), (1, 1), (1, 1))


@torch.no_grad()
def answers(net: nn.Module, bounds: Bounds | None, samples: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Outputs for the second half of ``samples``, in float or with the bounds; ranges from the first half."""
    operands = []
    for module in net.modules() if bounds else ():
        if isinstance(module, nn.Conv2d):
            of_layer = bounds if bounds and keeps_bounds(module) else DIRECT
            module.weight.copy_(rounded(module.weight, of_layer))
            operands.append(Operand(of_layer.bits))
            module.register_forward_pre_hook(operands[-1])
    for x in samples[: len(samples) // 2]:
        net(x)
    for operand in operands:
        operand.rounds = True
    results = [net(x) for x in samples[len(samples) // 2 :]]
    return [torch.cat(maps) for maps in zip(*(r if isinstance(r, tuple) else (r,) for r in results), strict=True)]


def sqnr(exact: torch.Tensor, answer: torch.Tensor) -> float:
    """Decibels of what varies over samples and positions."""
    varies = exact - exact.mean((0, 2, 3), keepdim=True)
    return float(10 * torch.log10((varies**2).sum() / ((exact - answer) ** 2).sum()))


class Correction(nn.Module):
    """EDSR-mini without its skip: what it adds to interpolation."""

    def __init__(self, net: Edsr) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, rows, columns) luma to (n, 4, rows, columns)."""
        y = self.net.head(x)
        return self.net.last(y + self.net.body(self.net.blocks(y)))


def sqnr_rows(edsr: Path | None, detector: Path | None) -> list[Row]:
    """A row per kind of bounds and network, an SQNR per output map.

    Args:
        edsr: weights of edsr-mini-x2, as recipes.superres trains them.
        detector: weights of the YOLO-shaped network, as recipes.detection trains them.
    """

    def enlarging() -> nn.Module:
        net = Edsr(2)
        load_weights(net, edsr)  # type: ignore[arg-type]
        return Correction(net).eval()

    makers: dict[str, tuple[Callable[[], nn.Module], str, int]] = {}
    if edsr:
        makers["edsr-mini-x2"] = (enlarging, "L", 160)
    if detector:
        makers["yolov8n-shaped"] = (lambda: yolo.load(detector)[0], "RGB", 320)
    rows: list[Row] = []
    for name, (make, mode, side) in makers.items():
        samples = [_photo(path, mode, side) for path in calibration(PHOTOS)]
        exact = answers(make(), None, samples)
        for bounds_name, bounds in SUBJECTS.items():
            values = [sqnr(*pair) for pair in zip(exact, answers(make(), bounds, samples), strict=True)]
            decibels = " ".join(f"{value:.1f}" for value in values)
            rows.append((("network", name), ("3 x 3 layers", bounds_name), ("SQNR of each output, dB", decibels)))
    return rows


def _photo(path: Path, mode: str, side: int) -> torch.Tensor:
    """(1, channels, side, side) in 0..1: luma cut from the middle, colours as a small photo."""
    photo = Image.open(path).convert(mode)
    if mode == "L":
        x, y = (photo.width - side) // 2, (photo.height - side) // 2
        photo = photo.crop((x, y, x + side, y + side))
    else:
        photo = photo.resize((side, side))
    pixels = np.asarray(photo, np.float32).reshape(side, side, -1) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]
