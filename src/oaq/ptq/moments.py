"""Second moments of what every layer reads, in packed K order: what roundings that look at data need to know.

They are taken about the mean, because the bias takes back what rounding does to a mean (``bias``). With C the
covariance of a layer's operands and e the error of one output's weights, e C e is the squared error of its sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatProducts
from oaq.ptq.execute import layers, run_graph
from oaq.ptq.samples import Chunk
from oaq.ptq.windows import padded

Covariance = NDArray[np.float32] | NDArray[np.float64]
POSITIONS: Final = 512
"""Most output positions looked at per sample: neighbours tell little new."""
PER_OPERAND: Final = 4
"""Positions looked at over all samples, per operand of a sum."""
LEAST_IN_ALL: Final = (32768, 8192)
"""Positions looked at over all samples at least: in layers of one group, and in those whose sums are short."""
DAMPING: Final = 0.01
"""Part of the mean variance added to every operand's, so that unobserved directions still cost something."""
BLOCK: Final = 1024
"""Columns of a symmetric product worked on at once: the half below the diagonal is not computed."""
NARROW: Final = (1e-24, 1e30)
"""Sums of squares that float32 holds well; others are formed in float64."""
SEED: Final = 20240917
"""Seed of the positions."""


def measure_moments(
    graph: FloatGraph, samples: Iterable[Chunk], progress: Callable[[], None] | None = None
) -> dict[str, Covariance]:
    """(G, K, K) damped covariance of the operands of every layer, by node name; G is the number of its groups.

    Args:
        graph: the float network.
        samples: chunks, read once.
        progress: called after every chunk.
    """
    chunks = list(samples)
    moments = Moments(graph, sum(len(next(iter(chunk.values()))) for chunk in chunks))
    read = {node.inputs[0] for node, _ in layers(graph)}
    with torch.inference_mode():
        for chunk in chunks:
            moments.add(run_graph(graph, chunk, keep=read))
            if progress is not None:
                progress()
    return dict(moments.covariances())


class Moments:
    """Second moments of the operands of every layer of a network, summed sample by sample.

    Args:
        graph: whose layers.
        samples: how many there will be: the fewer, the more positions of each are looked at.
        most: products of a sum; layers of longer sums are left out. None: none are.
    """

    def __init__(self, graph: FloatGraph, samples: int, most: int | None = None) -> None:
        self._graph, self._samples = graph, max(samples, 1)
        names = (node.name for node, op in layers(graph) if most is None or prod(op.weight.shape[1:]) <= most)
        self._sums = {name: _Sums() for name in names}
        self._places = np.random.default_rng(SEED)

    @property
    def names(self) -> frozenset[str]:
        """Names of the layers that are looked at."""
        return frozenset(self._sums)

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add a batch; ``values`` holds, by name, what every layer reads."""
        for node, op in layers(self._graph):
            if node.name not in self._sums:
                continue
            terms = prod(op.weight.shape[1:])
            least = LEAST_IN_ALL[isinstance(op, FloatConv2d) and op.groups > 1]
            enough = -(-max(least, PER_OPERAND * terms) // self._samples)
            x = values[node.inputs[0]]
            self._sums[node.name].add(operands(op, x, min(enough, POSITIONS), self._places))

    def covariances(self) -> Iterator[tuple[str, Covariance]]:
        """Node names with (G, K, K), damped; the identity for a group that never saw anything but a constant.

        Sums become covariances in place, one layer at a time: read it once.
        """
        while self._sums:
            name = next(iter(self._sums))
            yield name, self._sums.pop(name).covariance()


def operands(
    op: FloatProducts, x: torch.Tensor, positions: int = POSITIONS, places: np.random.Generator | None = None
) -> torch.Tensor:
    """(G, P, K): what each group of a layer multiplies with its weights at some P output positions of a batch.

    Args:
        op: the layer.
        x: (batch, C, ...) what it reads.
        positions: most of one sample; spread evenly over all it has.
        places: where in its part of the output each one lies; None is the first of its part.
    """
    if not isinstance(op, FloatConv2d):
        lines = x.movedim(1, -1)
        if lines.ndim > 2:
            flat = lines.flatten(1, -2)
            chosen = _spread(flat.shape[1], positions, places)
            lines = flat if len(chosen) == flat.shape[1] else flat[:, torch.from_numpy(chosen)]
        return lines.reshape(1, -1, x.shape[1]).clone()
    wide = padded(x, op.padding)
    batch, channels, *sizes = wide.shape
    axes = list(zip(sizes, op.kernel, op.stride, op.dilation, strict=True))
    counts = [(size - (kernel - 1) * dilation - 1) // stride + 1 for size, kernel, stride, dilation in axes]
    chosen = np.unravel_index(_spread(prod(counts), positions, places), counts)
    taps = np.unravel_index(np.arange(prod(op.kernel)), op.kernel)
    index = np.zeros((len(chosen[0]), len(taps[0])), np.int64)
    for axis, (size, _, stride, dilation) in enumerate(axes):
        index = index * size + chosen[axis][:, None] * stride + taps[axis][None] * dilation
    flat = wide.flatten(2)
    wanted = torch.from_numpy(index.reshape(-1)).expand(batch, channels, -1)
    gathered = torch.gather(flat, 2, wanted)  # index_select takes 2 to 15 times as long along a last axis
    split = gathered.reshape(batch, op.groups, channels // op.groups, *index.shape)
    return split.permute(1, 0, 3, 4, 2).reshape(op.groups, batch * index.shape[0], -1)


def _spread(count: int, most: int, places: np.random.Generator | None) -> NDArray[np.int64]:
    """At most ``most`` of 0 .. ``count`` - 1, one in each of as many equal parts: never all in one column."""
    if count <= most:
        return np.arange(count)
    within = np.zeros(most) if places is None else places.random(most)
    return np.minimum(((np.arange(most) + within) * (count / most)).astype(np.int64), count - 1)


class _Sums:
    """Sums of one layer so far, about the mean of what came first.

    Operands that vary little beside their mean would lose their variance in float32; taken about a mean, they do not.
    """

    def __init__(self) -> None:
        self._count = 0
        self._shift: torch.Tensor | None = None
        self._first = torch.zeros(())
        self._second = torch.zeros(())

    def add(self, x: torch.Tensor) -> None:
        """``x`` is (G, P, K); it is overwritten."""
        if self._shift is None:
            self._shift = x.mean(dim=1, keepdim=True, dtype=torch.float64).to(x.dtype)
            self._first = torch.zeros(x.shape[0], x.shape[2], dtype=torch.float64)
            self._second = torch.zeros(x.shape[0], x.shape[2], x.shape[2])
        centred = x.sub_(self._shift)
        gram = _gram(centred)
        most = float(torch.diagonal(gram, dim1=1, dim2=2).max())
        if most and not NARROW[0] <= most <= NARROW[1]:
            self._second, gram = self._second.double(), _gram(centred.double())
        self._first += centred.sum(dim=1)
        self._second += gram
        self._count += x.shape[1]

    @torch.inference_mode()
    def covariance(self) -> Covariance:
        """(G, K, K), damped; the identity for a group that never saw anything but a constant."""
        if self._shift is None:
            raise ValueError("no operand was seen")
        mean = self._first / self._count
        centred = _mirrored(self._second).div_(self._count)
        centred.baddbmm_(mean[:, :, None].to(centred.dtype), -mean[:, None, :].to(centred.dtype))
        diagonal = torch.diagonal(centred, dim1=1, dim2=2)
        variance = diagonal.double().clamp_min(0.0).mean(dim=1)
        diagonal.add_((DAMPING * variance).to(centred.dtype)[:, None])
        constant = ~(variance > 0)
        centred[constant] = torch.eye(centred.shape[1], dtype=centred.dtype)
        return centred.numpy()


def _gram(x: torch.Tensor) -> torch.Tensor:
    """x^T x of (G, P, K), (G, K, K); blocks below the diagonal are 0."""
    terms = x.shape[2]
    if terms <= BLOCK:
        return torch.bmm(x.transpose(1, 2), x)
    result = x.new_zeros(x.shape[0], terms, terms)
    for start in range(0, terms, BLOCK):
        end = min(start + BLOCK, terms)
        torch.bmm(x[:, :, start:end].transpose(1, 2), x[:, :, start:], out=result[:, start:end, start:])
    return result


def _mirrored(total: torch.Tensor) -> torch.Tensor:
    """Blocks below the diagonal from those above, in place."""
    for start in range(BLOCK, total.shape[1], BLOCK):
        total[:, start : start + BLOCK, :start] = total[:, :start, start : start + BLOCK].transpose(1, 2)
    return total
