"""Second moments of what every layer reads, in packed K order: what roundings that look at data need to know.

They are taken about the mean, because the bias takes back what rounding does to a mean (``bias``). With C the
covariance of a layer's operands and e the error of one output's weights, e C e is the squared error of its sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatProducts
from oaq.ptq.execute import layers, run_graph
from oaq.ptq.samples import Chunk
from oaq.ptq.windows import padded

Reals = NDArray[np.float64]
POSITIONS: Final = 512
"""Output positions looked at per sample, evenly spaced: neighbours tell little new."""
DAMPING: Final = 0.01
"""Part of the mean variance added to every operand's, so that unobserved directions still cost something."""


def measure_moments(
    graph: FloatGraph, samples: Iterable[Chunk], progress: Callable[[], None] | None = None
) -> dict[str, Reals]:
    """(G, K, K) damped covariance of the operands of every layer, by node name; G is the number of its groups.

    Args:
        graph: the float network.
        samples: chunks, read once.
        progress: called after every chunk.
    """
    moments: dict[str, _Moments] = {node.name: _Moments() for node, _ in layers(graph)}
    read = {node.inputs[0] for node, _ in layers(graph)}
    with torch.inference_mode():
        for chunk in samples:
            values = run_graph(graph, chunk, keep=read)
            for node, op in layers(graph):
                moments[node.name].add(operands(op, values[node.inputs[0]]))
            if progress is not None:
                progress()
    return {name: layer_moments.covariance() for name, layer_moments in moments.items()}


def operands(op: FloatProducts, x: torch.Tensor) -> torch.Tensor:
    """(G, P, K): what each group of a layer multiplies with its weights at some P output positions of a batch."""
    if not isinstance(op, FloatConv2d):
        return x.movedim(1, -1).reshape(1, -1, x.shape[1])
    patches, rank = padded(x, op.padding), len(op.kernel)
    for axis, (size, step, stride) in enumerate(zip(op.kernel, op.dilation, op.stride, strict=True)):
        patches = patches.unfold(2 + axis, _reach(size, step), stride)
    patches = patches[(..., *(slice(None, None, step) for step in op.dilation))]
    batch, channels, *positions = patches.shape[: 2 + rank]
    count = prod(positions)
    places = np.arange(0, count, max(1, count // POSITIONS))
    sampled = patches[(slice(None), slice(None), *np.unravel_index(places, positions))]  # (batch, C, P, kernel...)
    split = sampled.reshape(batch, op.groups, channels // op.groups, len(places), prod(op.kernel))
    return split.permute(1, 0, 3, 4, 2).reshape(op.groups, batch * len(places), -1)


def _reach(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1


class _Moments:
    """Sums so far, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._first: Reals | None = None
        self._second: Reals | None = None

    def add(self, x: torch.Tensor) -> None:
        """``x`` is (G, P, K)."""
        first = x.sum(dim=1, dtype=torch.float64).numpy()
        second = torch.bmm(x.transpose(1, 2), x).double().numpy()
        self._first = first if self._first is None else self._first + first
        self._second = second if self._second is None else self._second + second
        self._count += x.shape[1]

    def covariance(self) -> Reals:
        """(G, K, K), damped; the identity for a group that never saw anything but a constant."""
        if self._first is None or self._second is None:
            raise ValueError("no operand was seen")
        mean = self._first / self._count
        centred = self._second / self._count - mean[:, :, None] * mean[:, None, :]
        variance = np.maximum(np.einsum("gkk->gk", centred), 0.0).mean(axis=1)
        eye = np.eye(centred.shape[1])
        damped = centred + (DAMPING * variance)[:, None, None] * eye
        return np.where((variance > 0)[:, None, None], damped, eye)
