"""What tensors hold on calibration data: least, most and mean of every channel, and weighted histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatGraph
from oaq.errors import CalibrationError
from oaq.ptq.execute import run_graph
from oaq.ptq.samples import Chunk

Reals = NDArray[np.float64]
LARGE: Final = 1e15
"""Beyond it squares are added in float64."""
SEED: Final = 20230411
"""Seed of what is chosen from large batches."""


@dataclass(frozen=True, eq=False)
class ChannelStats:
    """Statistics of one tensor, channel by channel, over every sample and position.

    Attributes:
        lo: (C,) least value.
        hi: (C,) greatest value.
        mean: (C,).
        power: (C,) mean square.
    """

    lo: Reals
    hi: Reals
    mean: Reals
    power: Reals

    def scaled(self, factor: Reals) -> ChannelStats:
        """Statistics after channel c has been multiplied by ``factor[c]`` > 0."""
        return ChannelStats(self.lo * factor, self.hi * factor, self.mean * factor, self.power * factor**2)


def observe(
    graph: FloatGraph, samples: Iterable[Chunk], retain: Callable[[Chunk], None] | None = None
) -> dict[str, ChannelStats]:
    """Run every sample once and note the extremes and the mean of each channel of each tensor.

    Args:
        graph: the network.
        samples: a stream, read once.
        retain: called with every chunk, to keep some of them.

    Raises:
        CalibrationError: the network itself makes a value that is not finite.
    """
    running: dict[str, _Running] = {}

    def note(name: str, value: torch.Tensor) -> torch.Tensor:
        if name not in running:
            running[name] = _Running(value.shape[1])
        running[name].add(value, name)
        return value

    with torch.inference_mode():
        for chunk in samples:
            run_graph(graph, chunk, after=note, keep=())
            if retain is not None:
                retain(chunk)
    return {name: channels.stats() for name, channels in running.items()}


class _Running:
    """Extremes and sums so far."""

    def __init__(self, channels: int) -> None:
        self._lo = torch.full((channels,), torch.inf)
        self._hi = torch.full((channels,), -torch.inf)
        self._sum = torch.zeros(channels, dtype=torch.float64)
        self._square = torch.zeros(channels, dtype=torch.float64)
        self._count = 0

    def add(self, value: torch.Tensor, name: str) -> None:
        flat = value.flatten(2) if value.ndim > 2 else value[:, :, None]
        lows, highs = flat.aminmax(dim=2)
        lo, hi = lows.amin(dim=0), highs.amax(dim=0)
        if not bool(torch.isfinite(lo).all() and torch.isfinite(hi).all()):
            raise CalibrationError(
                f"{name}: the float network computes NaN or infinity on the calibration data; check its weights"
            )
        self._lo, self._hi = torch.minimum(self._lo, lo), torch.maximum(self._hi, hi)
        if float(torch.maximum(hi, -lo).max()) > LARGE:
            flat = flat.double()
        self._sum += flat.sum(dim=2).sum(dim=0, dtype=torch.float64)  # float32 within an image: torch sums by halves
        self._square += flat.square().sum(dim=2).sum(dim=0, dtype=torch.float64)
        self._count += flat.shape[0] * flat.shape[2]

    def stats(self) -> ChannelStats:
        lo, hi = (ends.numpy().astype(np.float64) for ends in (self._lo, self._hi))
        return ChannelStats(lo, hi, (self._sum / self._count).numpy(), (self._square / self._count).numpy())


@dataclass(frozen=True, eq=False)
class Histogram:
    """Weight of the values of one tensor, bin by bin.

    Attributes:
        lo: where the first bin begins; <= 0.
        hi: where the last one ends; >= 0.
        count: (B,) how many values.
        weight: (B,) sum of what each value's squared error weighs; ``count`` itself if all weigh one.
    """

    lo: float
    hi: float
    count: Reals
    weight: Reals

    def centres(self) -> Reals:
        """(B,) the value each bin stands for."""
        bins = len(self.count)
        return self.lo + (np.arange(bins, dtype=np.float64) + 0.5) * ((self.hi - self.lo) / bins)


BINS: Final = 2048
MOST_OF_A_BATCH: Final = 1 << 18
"""Values of a tensor that one batch adds to its histogram; of more, so many at random."""


class HistogramBuilder:
    """Streams values, whose range is known beforehand, into a histogram."""

    def __init__(self, lo: float, hi: float, bins: int = BINS) -> None:
        self._lo, self._hi = min(lo, 0.0), max(hi, 0.0)
        if self._lo == self._hi:
            self._hi = 1.0
        self._count = np.zeros(bins)
        self._weight = np.zeros(bins)
        self._generator = torch.Generator().manual_seed(SEED)

    def add(self, value: torch.Tensor, gradient: torch.Tensor | None = None) -> None:
        """Add the elements of ``value``, each weighing the square of its ``gradient``, of the same shape; None is one.

        Of a large batch random elements stand for all.
        """
        bins, flat = len(self._count), value.flatten()
        part = 1.0
        chosen = None
        if flat.numel() > MOST_OF_A_BATCH:
            chosen = torch.randint(flat.numel(), (MOST_OF_A_BATCH,), generator=self._generator)
            flat, part = flat[chosen], MOST_OF_A_BATCH / flat.numel()
        index = ((flat - self._lo) * (bins / (self._hi - self._lo))).to(torch.int32).clamp_(0, bins - 1)
        count = torch.bincount(index, minlength=bins).numpy() / part
        self._count += count
        if gradient is None:
            self._weight += count
        else:
            slope = gradient.flatten() if chosen is None else gradient.flatten()[chosen]
            self._weight += torch.bincount(index, slope.double().square(), minlength=bins).numpy() / part

    def build(self) -> Histogram:
        """What was seen."""
        return Histogram(self._lo, self._hi, self._count, self._weight)
