"""What tensors hold on calibration data: least, most and mean of every channel, and weighted histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatGraph
from oaq.errors import CalibrationError
from oaq.ptq.execute import run_graph
from oaq.ptq.samples import Chunk

Reals = NDArray[np.float64]


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
        flat = value.transpose(0, 1).flatten(1) if value.ndim > 1 else value[None]
        lo, hi = flat.aminmax(dim=1)
        if not bool(torch.isfinite(lo).all() and torch.isfinite(hi).all()):
            raise CalibrationError(
                f"{name}: the float network computes NaN or infinity on the calibration data; check its weights"
            )
        self._lo, self._hi = torch.minimum(self._lo, lo), torch.maximum(self._hi, hi)
        self._sum += flat.mean(dim=1, dtype=torch.float64) * flat.shape[1]
        self._square += flat.square().mean(dim=1, dtype=torch.float64) * flat.shape[1]
        self._count += flat.shape[1]

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


BINS = 2048


class HistogramBuilder:
    """Streams values, whose range is known beforehand, into a histogram."""

    def __init__(self, lo: float, hi: float, bins: int = BINS) -> None:
        self._lo, self._hi = min(lo, 0.0), max(hi, 0.0)
        if self._lo == self._hi:
            self._hi = 1.0
        self._count = np.zeros(bins)
        self._weight = np.zeros(bins)

    def add(self, value: torch.Tensor, weight: torch.Tensor | None = None) -> None:
        """Add every element of ``value``; ``weight`` is of the same shape, None weighs one each."""
        bins = len(self._count)
        index = ((value.flatten() - self._lo) * (bins / (self._hi - self._lo))).to(torch.int32).clamp_(0, bins - 1)
        self._count += torch.bincount(index, minlength=bins).numpy()
        if weight is None:
            self._weight = self._count
        else:
            self._weight += torch.bincount(index, weight.flatten(), minlength=bins).numpy()

    def build(self) -> Histogram:
        """What was seen."""
        return Histogram(self._lo, self._hi, self._count, self._weight)
