"""How weights become integers once scales and limits are known: to nearest, with error feedback, or learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.choose.bound import Bound, coarsened
from oaq.choose.covariance import Covariance, Reals
from oaq.choose.feedback import Feedback, error_feedback, fed_back_at, feedback_of
from oaq.choose.target import MOST_BUDGET, Target, make_cells, unspilled
from oaq.numerics.formats import S8_WEIGHT
from oaq.ptq.adaround import learned_rounding
from oaq.ptq.curves import Layer

Rounding = Literal["nearest", "axe", "adaround"]
ROUNDINGS: Final[tuple[Rounding, ...]] = ("axe", "adaround", "nearest")


@dataclass(frozen=True, eq=False)
class LayerData:
    """What calibration data say of the operands of a layer.

    Attributes:
        moments: (G, K, K) damped covariance.
        feedback: how errors spread with it.
    """

    moments: Covariance
    feedback: Feedback


def layer_data(moments: Covariance) -> LayerData:
    """What follows from (G, K, K) covariances, computed once for every scale that is tried."""
    return LayerData(moments, feedback_of(moments))


@dataclass(frozen=True)
class Informed:
    """A rounding that looks at data; all functions take (rows, scale, bound, data).

    Attributes:
        begin: weights and the scales at which they keep their bound, from the finest.
        at: weights at given scales, none finer than where ``begin`` ends.
        is_last: weights come from ``at``; those of ``begin`` only find scales.
    """

    begin: Callable[[Reals, Reals, Bound, LayerData], tuple[NDArray[np.int8], Reals]]
    at: Callable[[Reals, Reals, Bound, LayerData], NDArray[np.int8]]
    is_last: bool


def _fed_back(rows: Reals, scale: Reals, bound: Bound, data: LayerData) -> tuple[NDArray[np.int8], Reals]:
    return error_feedback(rows, scale, bound, data.moments, feedback=data.feedback)


def _fed_back_at(rows: Reals, scale: Reals, bound: Bound, data: LayerData) -> NDArray[np.int8]:
    return fed_back_at(rows, scale, bound, data.moments, feedback=data.feedback)


INFORMED: Final[Mapping[str, Informed]] = {
    "axe": Informed(_fed_back, _fed_back_at, is_last=False),
    "adaround": Informed(
        lambda rows, scale, bound, _: coarsened(rows, scale, bound),
        lambda rows, scale, bound, data: learned_rounding(rows, scale, bound, data.moments),
        is_last=True,
    ),
}


def filled(layer: Layer, fill: float, steps: int) -> Bound:
    """What a layer keeps when the search gave it a fill: the lanes of its target's measure over all of K.

    Args:
        layer: as the search sees it.
        fill: of the layer; infinity for no limit.
        steps: integer range of the activations.
    """
    load = layer.load(steps)
    enough = MOST_BUDGET * max(load.same_sign, load.other_sign)
    budget = np.floor(np.minimum(np.maximum(fill * layer.share, 1.0) * load.limit, enough)).astype(np.int64)
    cells = unspilled(load.accumulator, layer.rows.shape[1])
    return Bound(S8_WEIGHT.hi, cells, budget, budget, load.same_sign, load.other_sign, layer.code_bits)


def targeted(layer: Layer, bits: int, target: Target | None, steps: int) -> Bound:
    """What a layer keeps that is given its bits and its accumulator.

    Args:
        layer: as the search sees it.
        bits: of its weights.
        target: its accumulator; None: 32 bits.
        steps: integer range of the activations.
    """
    accumulator = target or Target("pure", 32)
    cells = make_cells(layer.rows.shape[1], accumulator, depthwise=layer.depthwise)
    up, down = (np.full(len(layer.rows), budget, np.int64) for budget in accumulator.budgets(steps))
    clip = (1 << (bits - 1)) - 1 if layer.code_bits is None else S8_WEIGHT.hi
    return Bound(clip, cells, up, down, code_bits=layer.code_bits)
