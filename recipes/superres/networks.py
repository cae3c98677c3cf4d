"""Networks that enlarge luma: ESPCN, FSRCNN and a small EDSR, each a correction of a linear interpolation.

All take (n, 1, rows, columns) luma in 0..1 and answer (n, 1, rows * scale, columns * scale). What they have in common
is the skip: a window of 5 x 5 to one channel per pixel of a cell, which starts as bicubic interpolation and is trained
with the rest. It is a convolution and an interleaving like any other layer, so it lies inside the integers: the operand
of its sum is the photo itself, on its own 256 levels, and the rest of the network only says what bicubic misses.
Trained networks end in 0..1, as luma does, and their skip too: a u8 of either is a level of a photo of 8 bits. Borders
are zeros, as convolutions have them; ``enlarge`` extends photos by their own edge, so that none is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from oaq.errors import FormatError
from recipes.networks import load_weights

SCALES: Final = (2, 3, 4)
TAPS: Final = 5
"""Side of the skip's window."""


class Skip(nn.Conv2d):
    """(n, 1, rows, columns) to (n, scale * scale, rows, columns): every pixel of a cell by linear interpolation."""

    def __init__(self, scale: int) -> None:
        super().__init__(1, scale * scale, TAPS, padding=TAPS // 2, bias=False)
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(bicubic_weights(scale)).view_as(self.weight))


def bicubic_weights(scale: int) -> NDArray[np.float32]:
    """(scale * scale, 5, 5) weights of bicubic interpolation (Keys, a = -1/2) at the pixels of a cell, row by row.

    Pixel p of a cell lies (p + 1/2) / scale - 1/2 from the cell's middle. Rows sum to 1.
    """
    places = (np.arange(scale) + 0.5) / scale - 0.5
    distances = np.abs(np.arange(TAPS)[None] - TAPS // 2 - places[:, None])
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2
    line = np.where(distances <= 1, near, np.where(distances < 2, far, 0.0))
    return np.einsum("ai,bj->abij", line, line).reshape(scale * scale, TAPS, TAPS).astype(np.float32)


class Enlarging(nn.Module):
    """What the networks share: the skip, and the end.

    Attributes:
        scale: rows and columns of an input pixel's cell.
        skip: luma to the pixels of each cell, interpolated.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.skip = Skip(scale)

    def inside(self, y: torch.Tensor) -> torch.Tensor:
        """Luma within 0..1; while it is trained, as it is, so that every pixel has a gradient."""
        return y if self.training else torch.clamp(y, 0.0, 1.0)


class Espcn(Enlarging):
    """Windows of 5, 3 and 3 to one channel per pixel of a cell (1609.05158), ReLU for its tanh."""

    def __init__(self, scale: int, width: int = 64) -> None:
        super().__init__(scale)
        self.first = nn.Conv2d(1, width, 5, padding=2)
        self.second = nn.Conv2d(width, width // 2, 3, padding=1)
        self.last = nn.Conv2d(width // 2, scale * scale, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, rows, columns) to (n, 1, rows * scale, columns * scale)."""
        y = F.relu(self.second(F.relu(self.first(x))))
        return F.pixel_shuffle(self.inside(self.last(y) + self.inside(self.skip(x))), self.scale)


class Fsrcnn(Enlarging):
    """Shrink, map with windows of 3, expand, one transposed convolution of 9 (1608.00367); PReLU per channel."""

    def __init__(self, scale: int, width: int = 56, narrow: int = 12, depth: int = 4) -> None:
        super().__init__(scale)
        layers: list[nn.Module] = [nn.Conv2d(1, width, 5, padding=2), nn.PReLU(width)]
        layers += [nn.Conv2d(width, narrow, 1), nn.PReLU(narrow)]
        for _ in range(depth):
            layers += [nn.Conv2d(narrow, narrow, 3, padding=1), nn.PReLU(narrow)]
        layers += [nn.Conv2d(narrow, width, 1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers)
        self.last = nn.ConvTranspose2d(width, 1, 9, scale, padding=4, output_padding=scale - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, rows, columns) to (n, 1, rows * scale, columns * scale)."""
        return self.inside(self.last(self.body(x)) + F.pixel_shuffle(self.inside(self.skip(x)), self.scale))


class Block(nn.Module):
    """x + window(ReLU(window(x))), both of 3 x 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width, rows, columns) to the same shape."""
        return x + self.second(F.relu(self.first(x)))


class Edsr(Enlarging):
    """Residual blocks without norms (1707.02921), small; one layer to the pixels of a cell instead of a cascade."""

    def __init__(self, scale: int, blocks: int = 8, width: int = 32) -> None:
        super().__init__(scale)
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, scale * scale, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, rows, columns) to (n, 1, rows * scale, columns * scale)."""
        y = self.head(x)
        y = y + self.body(self.blocks(y))
        return F.pixel_shuffle(self.inside(self.last(y) + self.inside(self.skip(x))), self.scale)


@dataclass(frozen=True)
class SuperNetwork:
    """A network of the recipe by its name.

    Attributes:
        name: on the command line, in files and in results.
        make: scale to the network, its weights random but the skip's.
        steps: of training, sized for less than twelve minutes of one core.
        rate: of Adam at the start.
        radius: input pixels beyond an output's own cell that it depends on, in each direction.
    """

    name: str
    make: Callable[[int], nn.Module]
    steps: int
    rate: float
    radius: int


NETWORKS: Final[Mapping[str, SuperNetwork]] = {
    network.name: network
    for network in (
        SuperNetwork("espcn", Espcn, 20000, 1e-3, 4),
        SuperNetwork("fsrcnn", Fsrcnn, 6000, 1e-3, 8),
        SuperNetwork("edsr-mini", Edsr, 4000, 1e-3, 19),
    )
}


def build(name: str, scale: int, weights: Path | None = None) -> nn.Module:
    """The network in eval mode: with the weights of a file, or untrained, always with the same numbers.

    Raises:
        FormatError: the network or the scale is unknown.
        WeightsError: the file is missing, damaged or of another network.
    """
    if name not in NETWORKS or scale not in SCALES:
        raise FormatError(f"{name} x{scale}: networks are {', '.join(NETWORKS)}, scales {', '.join(map(str, SCALES))}")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        net = NETWORKS[name].make(scale)
    with torch.no_grad():  # what is added to bicubic starts at nothing
        net.last.weight.mul_(0.1)  # type: ignore[union-attr, operator]
        net.last.bias.zero_()  # type: ignore[union-attr, operator]
    if weights is not None:
        load_weights(net, weights)
    return net.eval()
