"""What a coarser layer or tensor does to the network's outputs, measured on its integers with all else unchanged.

Two masks per layer and per group of tensors are run natively. Between and beyond them the effect follows the exact
rounding error of the integers, as a power law through both (the error itself is exact for every candidate).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.kernels.plan import plan
from oaq.program.int_program import IntProgram
from oaq.runtime.session import Session
from oaq.tune.layers import TuneLayer
from oaq.tune.observe import noise
from oaq.tune.rebuild import LayerWeights, rebuilt

Reals = NDArray[np.float64]
Integers = NDArray[np.uint8]
ANCHOR_STEPS: Final = (90, 32)
"""Step counts that a group of tensors is masked with."""
ANCHOR_PARTS: Final = (4.0, 8.5)
"""How much coarser the weights of a masked layer are: about 6 and 5 bits."""
LEAST: Final = 1e-12
"""Noise below which a mask shows nothing; effects are never smaller."""


@dataclass(frozen=True)
class PowerLaw:
    """effect = factor * error ** exponent, through two measured points."""

    factor: float
    exponent: float

    def effect(self, error: float) -> float:
        """Noise at the outputs, in parts of their power."""
        return self.factor * error**self.exponent if error > 0 else 0.0


def power_law(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """The law through (error, effect) points; the exponent lies in [1/2, 2], 1 if the points do not say."""
    (low, first), (high, second) = points[0], points[-1]
    first, second = max(first, LEAST), max(second, LEAST)
    if high <= low * 1.01 or low <= 0:
        return PowerLaw(second / max(high, LEAST), 1.0)
    exponent = float(np.clip(np.log(second / first) / np.log(high / low), 0.5, 2.0))
    return PowerLaw(
        float(np.exp(np.mean([np.log(first) - exponent * np.log(low), np.log(second) - exponent * np.log(high)]))),
        exponent,
    )


class Masks:
    """Runs of a program with one thing changed, compared with the program as it is."""

    def __init__(self, program: IntProgram, x: Sequence[Integers], threads: int) -> None:
        self.program, self._x, self._threads = program, list(x), threads
        self._reference = self._run(program)

    def _run(self, program: IntProgram) -> tuple[Integers, ...]:
        return Session(plan(program), self._threads).run_integers(self._x)

    def noise_of(self, steps: Mapping[str, int], weights: Mapping[str, LayerWeights]) -> float:
        """Noise at the outputs of the program with these changes."""
        changed = rebuilt(self.program, steps, weights, {})
        return noise(self._reference, self._run(changed), (self.program, changed))

    def noise_of_program(self, changed: IntProgram) -> float:
        """Noise at the outputs of another program with the same outputs."""
        return noise(self._reference, self._run(changed), (self.program, changed))


def layer_laws(
    masks: Masks, layers: Sequence[TuneLayer], progress: Callable[[Iterable[int], str], Iterable[int]]
) -> dict[str, PowerLaw]:
    """What a rounding error of a layer's weights does, by node."""
    laws = {}
    for index in progress(range(len(layers)), "mask layers"):
        layer = layers[index]
        points = []
        for part in ANCHOR_PARTS:
            step = np.full(len(layer.rows), part)
            weights = LayerWeights(np.rint(layer.rows / step[:, None]).astype(np.int8), step)
            points.append((layer.error(weights), masks.noise_of({}, {layer.node.name: weights})))
        laws[layer.node.name] = power_law(points)
    return laws


def group_laws(
    masks: Masks,
    errors: Mapping[str, Callable[[int], float]],
    spans: Mapping[str, int],
    progress: Callable[[Iterable[int], str], Iterable[int]],
) -> dict[str, PowerLaw]:
    """What rounding tensors to fewer steps does, by group."""
    laws = {}
    names = list(errors)
    for index in progress(range(len(names)), "mask tensors"):
        name = names[index]
        points = [
            (errors[name](steps), masks.noise_of({name: steps}, {})) for steps in ANCHOR_STEPS if steps < spans[name]
        ]
        laws[name] = power_law(points) if points else PowerLaw(0.0, 1.0)
    return laws


def rounding_error(counts: NDArray[np.int64], span: int, steps: int) -> float:
    """Squared error of bringing counted integers to ``steps`` steps and back, in old steps, per value.

    Args:
        counts: (256,) how often each integer occurs.
        span: steps that the integers have.
        steps: fewer.
    """
    if steps >= span:
        return 0.0
    first = int(np.nonzero(counts)[0][0]) if counts.any() else 0
    values = np.arange(256, dtype=np.float64) - first
    size = span / steps
    error = (np.rint(values / size) * size - values) ** 2
    return float((counts * error).sum() / max(counts.sum(), 1))
