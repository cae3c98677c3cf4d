"""Weight scales a little coarser, so that results can be requantized in 16 bits (``numerics.words``).

A layer's multiplier is s_x * s_w / s_y, and s_w is free: the next word that float32 arithmetic makes of some scale is
0.3 % away in the median, 0.01 % where a multiplier is at least 1 / 64. Outputs whose multiplier is so small that a
saturated sum would be wrong, or that no word is near, can be brought up to the least one that serves. That costs
precision, and is only done where the network loses much less by it than by rounding the layer's outputs; a tile of
outputs needs all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatNode, LayerParams, TensorParams
from oaq.capture.lower import clamp_range
from oaq.choose.round import rounding_error
from oaq.choose.words import least_words, search_words
from oaq.kernels.results import greatest_sum, least_sum, result_bounds, share_allowed
from oaq.numerics.multipliers import layer_multipliers
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Semantics
from oaq.numerics.words import MOST, SHIFT, least_saturating
from oaq.ptq.observe import Reals

DEAREST: Final = 0.3
"""What coarser weights of a layer may cost, in parts of what rounding its outputs costs."""
FREE: Final = 1.1
"""A multiplier that grows by no more than this costs nothing that counts: 0.3 % in the median."""
MARGIN: Final = 1024
"""What the correction of a bias may yet add to a sum, out of 2**15."""


@dataclass(frozen=True, eq=False)
class Prices:
    """What errors of a layer cost the network.

    Attributes:
        importance: (N, K) a squared error of each weight.
        rounding: all outputs rounded to steps of 1.0; it grows with the square of the step. 0 if nothing may be lost.
        tile: outputs that leave together.
        code_bits: weights are integers of a codebook of so many bits; None: any of int8.
    """

    importance: Reals
    rounding: float
    tile: int
    code_bits: int | None = None


@dataclass(frozen=True)
class Ends:
    """The tensors a layer stands between.

    Attributes:
        x: what it reads.
        y: what it writes, narrowed by its clamp.
        semantics: of the program.
        prices: of errors between them.
    """

    x: TensorParams
    y: TensorParams
    semantics: Semantics
    prices: Prices

    @property
    def allow_words(self) -> bool:
        """Multipliers are floats, and the output has more integers than one."""
        return self.y.range.steps > 0 and self.semantics == "float32_half_even"

    @property
    def results(self) -> IntRange:
        """What the clamp keeps of results before the zero point is added."""
        return result_bounds(self.y.affine.zero_point, self.y.range)


def layer_ends(node: FloatNode, x: TensorParams, y: TensorParams, semantics: Semantics, prices: Prices) -> Ends:
    """What a layer stands between whose tensors have these integers."""
    bounds = y.range if node.clamp is None else clamp_range(node.clamp, y, node.name)
    return Ends(x, TensorParams(y.affine, bounds), semantics, prices)


def words_scale(rows: Reals, weight: NDArray[np.int8], scale: Reals, bias: Reals, ends: Ends) -> Reals:
    """(N,) weight scales, never finer, at which as many multipliers as possible are words; unchanged where none is.

    Args:
        rows: (N, K) float weights.
        weight: (N, K) what they are rounded to.
        scale: (N,) at this scale.
        bias: (N,) float.
        ends: the tensors.
    """
    if not ends.allow_words:
        return scale
    prices = ends.prices
    s_x, s_y, bounds = ends.x.affine.scale, ends.y.affine.scale, ends.results
    unit = s_x / s_y * (1 << SHIFT)
    ideal = scale * unit
    folded = bias / (s_x * scale) - ends.x.affine.zero_point * weight.astype(np.int64).sum(axis=1)
    least = least_saturating(bounds)
    fits = (folded + greatest_sum(weight) <= MOST - MARGIN) & (
        (bounds.lo == 0) | (folded + least_sum(weight) >= MARGIN - MOST)
    )
    safe = (ideal >= least) | fits
    settled = least_words(np.where(safe, ideal, least) / (1 << SHIFT), bounds) * (1 << SHIFT)
    finer, coarser = (
        rounding_error(rows, candidate, prices.importance, code_bits=prices.code_bits)
        for candidate in (scale, settled / unit)
    )
    cost = np.where(safe & (settled <= ideal * FREE), 0.0, coarser - finer)
    cost[ideal > MOST] = np.inf
    allowed = _cheapest(np.maximum(cost, 0.0), prices.tile, DEAREST * prices.rounding * s_y**2)
    target = np.where(allowed, settled, np.inf) / (1 << SHIFT)
    words_near = search_words(target, bounds, (s_x, s_y), finest=scale)
    return np.where(words_near.exists, words_near.scale, scale)


def _cheapest(cost: Reals, tile: int, most: float) -> NDArray[np.bool_]:
    """(N,): the output is of one of the cheapest tiles, which together cost no more than ``most``."""
    starts = np.arange(0, len(cost), tile)
    tiles = np.add.reduceat(cost, starts)
    order = np.argsort(tiles, kind="stable")
    allowed = np.zeros(len(tiles), bool)
    allowed[order] = np.cumsum(tiles[order]) <= most
    return allowed.repeat(tile)[: len(cost)]


def share(weight: NDArray[np.int8], params: LayerParams, ends: Ends) -> float:
    """Part of the results that 16 bits requantize, of (N, K) integers in packed K order."""
    multiplier = layer_multipliers(ends.x.affine.scale, params.weight_scale, ends.y.affine.scale)
    if not ends.allow_words or multiplier.max() >= 1.0:
        return 0.0
    folded = params.bias.astype(np.int64) - ends.x.affine.zero_point * weight.astype(np.int64).sum(axis=1)
    return share_allowed(weight, multiplier, ends.results, folded)
