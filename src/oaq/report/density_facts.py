"""The values of ``report.density``: zeros of a layer, and the entropy of what layers say."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2


@dataclass(frozen=True)
class Density:
    """Zeros of one layer.

    Attributes:
        weights: how many there are.
        zeros: of them.
        products: of one sample that are not with a weight of zero.
        bit_operations: of one sample (``report.density``).
        unread: input channels whose weights are all zero.
        silent: outputs whose weights are all zero.
        steps: inner steps over all tiles, as planned; None where nothing is planned.
        skipped: those of zeros, which are left out; likewise.
    """

    weights: int
    zeros: int
    products: int
    bit_operations: float
    unread: int
    silent: int
    steps: int | None = None
    skipped: int | None = None


@dataclass(frozen=True)
class LayerEntropy:
    """What one layer says of its input.

    Attributes:
        layer: its name.
        neurons: N.
        entropy: bits of the states seen.
    """

    layer: str
    neurons: int
    entropy: float

    @property
    def efficiency(self) -> float:
        """Entropy by neuron."""
        return self.entropy / self.neurons


@dataclass(frozen=True)
class NeuralEfficiency:
    """Observed on samples.

    Attributes:
        samples: how many.
        layers: in order.
        score: of the network, 0 to 1; None if none was given.
    """

    samples: int
    layers: tuple[LayerEntropy, ...]
    score: float | None = None

    @property
    def efficiency(self) -> float:
        """Geometric mean over layers."""
        if any(layer.entropy <= 0.0 for layer in self.layers):
            return 0.0
        return float(2.0 ** (sum(log2(layer.efficiency) for layer in self.layers) / len(self.layers)))

    @property
    def aiq(self) -> float | None:
        """(score^2 efficiency)^(1/3); None without a score."""
        return None if self.score is None else float((self.score**2 * self.efficiency) ** (1 / 3))
