"""How the channels of a tensor are distributed: mean and deviation by image, and a histogram about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture import graph as fg
from oaq.capture.graph import FloatGraph
from oaq.ptq.execute import run_graph
from oaq.ptq.observe import Reals
from oaq.ptq.samples import Chunk

BINS: Final = 512
REACH: Final = 12.0
"""Deviations from the mean at which a histogram ends; what lies beyond is counted there."""
POSITIONS: Final = 4096
"""Most positions of an image in a histogram, evenly spaced."""
KEEPING: Final = ("MaxPool", "AvgPool", "GlobalAvgPool", "Pad", "Resize")
"""Operators that read one tensor, keep its channels, and make nothing negative of what is not."""


@dataclass(frozen=True, eq=False)
class ChannelMoments:
    """One tensor on calibration data.

    A rectified channel is looked at where it is positive; one more position of 0 counts, so that there is always one.

    Attributes:
        rectified: (C,) whether a ReLU wrote the channel.
        mean: (images, C).
        deviation: (images, C), by the number of positions.
        lo: (C,) least value.
        hi: (C,) greatest value.
        edges: (C, bins + 1) of the histogram: static ones of values, dynamic ones of (value - mean) / deviation of
            the image; of a rectified channel the mean is not taken off.
        count: (C, bins) weight of each bin: squared deviations of the images where values are in parts of them.
    """

    rectified: NDArray[np.bool_]
    mean: Reals
    deviation: Reals
    lo: Reals
    hi: Reals
    edges: Reals
    count: Reals


def rectified_channels(graph: FloatGraph, tensor: str) -> NDArray[np.bool_]:
    """(C,) whether all that writes a channel is a ReLU; decided by the graph, never by data."""
    channels, node = graph.shapes[tensor][0], graph.producer(tensor)
    if node is None:
        return np.zeros(channels, np.bool_)
    if node.clamp is not None and node.clamp[0] is not None and node.clamp[0] >= 0.0:
        return np.ones(channels, np.bool_)
    name = fg.rules_of(node.op).name
    if name == "Concat":
        return np.concatenate([rectified_channels(graph, part) for part in node.inputs])
    if name in KEEPING:
        return rectified_channels(graph, node.inputs[0])
    return np.zeros(channels, np.bool_)


def measure_channels(
    graph: FloatGraph, samples: Iterable[Chunk], tensors: Iterable[str], *, per_image: bool
) -> dict[str, ChannelMoments]:
    """Mean, deviation, ends and histogram of the channels of some tensors.

    Args:
        graph: the network.
        samples: chunks; they are run twice.
        tensors: which.
        per_image: histograms are about the mean of each image, in its deviations; else of values.
    """
    chunks, watched = list(samples), {name: _Channels(rectified_channels(graph, name), per_image) for name in tensors}
    for look in (_Channels.measure, _Channels.count_values):

        def note(name: str, value: torch.Tensor, look: object = look) -> torch.Tensor:
            if name in watched:
                look(watched[name], value.flatten(2) if value.ndim > 2 else value[:, :, None])  # type: ignore[operator]
            return value

        with torch.inference_mode():
            for chunk in chunks:
                run_graph(graph, chunk, after=note, keep=())
    return {name: channels.moments() for name, channels in watched.items()}


class _Channels:
    """One tensor so far: first moments, then values."""

    def __init__(self, rectified: NDArray[np.bool_], per_image: bool) -> None:
        self._rectified, self._per_image = rectified, per_image
        self._means: list[Reals] = []
        self._deviations: list[Reals] = []
        self._ends: list[tuple[Reals, Reals]] = []
        self._counted = 0
        self._count = np.zeros((len(rectified), BINS))

    def measure(self, value: torch.Tensor) -> None:
        """(images, C, positions)."""
        positive = torch.from_numpy(self._rectified)[None, :, None]
        x = value.double()
        counted = torch.where(positive, x > 0, torch.ones_like(x, dtype=torch.bool))
        x = torch.where(counted, x, 0.0)
        count = counted.sum(dim=2) + positive[:, :, 0]
        mean = x.sum(dim=2) / count
        variance = x.square().sum(dim=2) / count - mean.square()
        self._means += list(mean.numpy())
        self._deviations += list(variance.clamp_min(0.0).sqrt().numpy())
        lo, hi = value.aminmax(dim=2)
        self._ends.append((lo.amin(dim=0).double().numpy(), hi.amax(dim=0).double().numpy()))

    def count_values(self, value: torch.Tensor) -> None:
        """(images, C, positions), in the same order."""
        images = range(self._counted, self._counted + len(value))
        self._counted += len(value)
        low, width = self._edges()
        step = max(1, value.shape[2] // POSITIONS)
        for image, values in zip(images, value[:, :, ::step].double().numpy(), strict=True):
            deviation = np.maximum(self._deviations[image], 1e-30)
            x, weight = values, np.ones(len(values))
            if self._per_image:
                x = (x - np.where(self._rectified, 0.0, self._means[image])[:, None]) / deviation[:, None]
                weight = deviation**2
            index = np.clip((x - low[:, None]) / width[:, None], 0, BINS - 1).astype(np.int64)
            counted = np.bincount((index + BINS * np.arange(len(x))[:, None]).reshape(-1), minlength=BINS * len(x))
            self._count += counted.reshape(self._count.shape) * weight[:, None]

    def moments(self) -> ChannelMoments:
        """What was seen."""
        low, width = self._edges()
        lo, hi = (np.array(side) for side in zip(*self._ends, strict=True))
        edges = low[:, None] + np.arange(BINS + 1) * width[:, None]
        mean, deviation = np.array(self._means), np.array(self._deviations)
        return ChannelMoments(self._rectified, mean, deviation, lo.min(axis=0), hi.max(axis=0), edges, self._count)

    def _edges(self) -> tuple[Reals, Reals]:
        """(C,) where the first bin begins, and the width of each."""
        if self._per_image:
            low = np.where(self._rectified, 0.0, -REACH)
            return low, np.full(len(low), 2 * REACH / BINS)
        lo, hi = (np.array(side) for side in zip(*self._ends, strict=True))
        low, high = lo.min(axis=0), hi.max(axis=0)
        return low, np.maximum(high - low, 1e-30) / BINS
