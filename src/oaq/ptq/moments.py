"""Second moments of what every layer reads, in packed K order: what roundings that look at data need to know.

They are taken about the mean, because the bias takes back what rounding does to a mean (``bias``). With C the
covariance of a layer's operands and e the error of one output's weights, e C e is the squared error of its sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatLinear
from oaq.ptq.execute import layers, run_graph
from oaq.ptq.samples import Chunk

Reals = NDArray[np.float64]
POSITIONS: Final = 512
"""Output positions looked at per sample, evenly spaced: neighbours tell little new."""
DAMPING: Final = 0.01
"""Of the mean variance, added to every operand's: directions never seen keep a price."""


def measure_moments(
    graph: FloatGraph, samples: Iterable[Chunk], progress: Callable[[], None] | None = None
) -> dict[str, Reals]:
    """(G, K, K) damped covariance of the operands of every layer, by node name; G is the number of its groups.

    Args:
        graph: the float network.
        samples: chunks, read once.
        progress: called after every chunk.
    """
    found: dict[str, _Moments] = {node.name: _Moments() for node, _ in layers(graph)}
    read = {node.inputs[0] for node, _ in layers(graph)}
    with torch.inference_mode():
        for chunk in samples:
            values = run_graph(graph, chunk, keep=read)
            for node, op in layers(graph):
                found[node.name].add(operands(op, values[node.inputs[0]]))
            if progress is not None:
                progress()
    return {name: one.covariance() for name, one in found.items()}


def operands(op: FloatConv2d | FloatLinear, x: torch.Tensor) -> torch.Tensor:
    """(G, P, K): what each group of a layer multiplies with its weights at some P output positions of a batch."""
    if isinstance(op, FloatLinear):
        return x.reshape(1, -1, x.shape[-1])
    top, bottom, left, right = op.padding
    height, width = op.weight.shape[2:]
    patches = F.pad(x, (left, right, top, bottom)).unfold(2, _reach(height, op.dilation[0]), op.stride[0])
    patches = patches.unfold(3, _reach(width, op.dilation[1]), op.stride[1])[..., :: op.dilation[0], :: op.dilation[1]]
    batch, channels, rows, columns = patches.shape[:4]
    every = max(1, rows * columns // POSITIONS)
    row, column = np.divmod(np.arange(0, rows * columns, every), columns)
    chosen = patches[:, :, row, column]  # (batch, C, P, KH, KW)
    split = chosen.reshape(batch, op.groups, channels // op.groups, len(row), height, width)
    return split.permute(1, 0, 3, 4, 5, 2).reshape(op.groups, batch * len(row), -1)


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
        found = self._second / self._count - mean[:, :, None] * mean[:, None, :]
        variance = np.maximum(np.einsum("gkk->gk", found), 0.0).mean(axis=1)
        eye = np.eye(found.shape[1])
        damped = found + (DAMPING * variance)[:, None, None] * eye
        return np.where((variance > 0)[:, None, None], damped, eye)
