"""What a layer's precision costs and what it is worth, as functions of how full its lanes are.

The *fill* of an output is the greatest sum one of its 16-bit lanes could reach over all of K, in parts of what a lane
holds: at fill 1 no spill is needed, at fill 8 about eight runs are. Fill is (integer range of the activations) x
(integer weights), so halving either halves it. All outputs of a tile share their spills, so a tile has one fill: its
heavier outputs get a coarser weight scale until they fit it, its lighter ones keep their 127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatLinear, FloatNode
from oaq.kernels.cost import Predictor, predict_layer_cost
from oaq.kernels.work import Site
from oaq.ptq.observe import Reals
from oaq.ptq.registers import LANE_LIMIT, rows_of, tile_of
from oaq.ptq.round import best_scale, fitted, lane_sums, packed_rows, rounding_error
from oaq.ptq.times import layer_site

SCALES: Final = tuple(float(2.0 ** (step / 2)) for step in range(15))
"""Weight scales, in multiples of the finest, at which a channel's error is known; between them it is interpolated."""
SPREAD: Final = 4.0
"""Most by which the fill of a tile leaves its layer's."""
FILLS: Final = tuple(float(2.0 ** (step / 2)) for step in range(-4, 17))
"""Fills whose cost is known: at the first, 1 / SPREAD, no tile needs a spill."""
REFERENCE_STEPS: Final = 255
"""Activation range for which costs are counted; at equal fill they hardly depend on it."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer as the search sees it.

    Attributes:
        node: of the graph.
        op: its operator.
        rows: (N, K) float weights in packed K order.
        importance: (N, K) what a squared error of each weight costs.
        finest: (N,) weight scale that a layer without limits gets.
        heaviest: (N,) greatest sum of weights of one sign in one lane.
        errors: (N, S) error of each output at ``finest * SCALES``.
        share: (N,) each output's part of its layer's fill: that of its tile.
        site: where it stands.
        time: predicts how long it takes.
    """

    node: FloatNode
    op: FloatConv2d | FloatLinear
    rows: Reals
    importance: Reals
    finest: Reals
    heaviest: Reals
    errors: Reals
    share: Reals
    site: Site
    time: Predictor

    @property
    def depthwise(self) -> bool:
        """Which family computes it."""
        return isinstance(self.op, FloatConv2d) and self.op.is_depthwise()

    def scale(self, fill: float, steps: int) -> Reals:
        """(N,) weight scale at which every output's fill is at most its tile's.

        Args:
            fill: of the layer; infinity for no limit.
            steps: integer range of the activations.
        """
        if not np.isfinite(fill):
            return self.finest
        most = np.maximum(fill * self.share, 1.0) * (LANE_LIMIT // steps)
        return np.maximum(self.finest, self.heaviest / most)

    def integers(self, fill: float, steps: int) -> tuple[np.ndarray, Reals]:
        """(N, K) int8 weights and their (N,) scale at a fill; at fill 1 every lane provably needs no spill."""
        scale = self.scale(fill, steps)
        limit = np.where(fill * self.share <= 1.0 + 1e-9, LANE_LIMIT // steps, np.iinfo(np.int32).max)
        return fitted(self.rows, scale, limit, depthwise=self.depthwise)

    def error(self, fill: float, steps: int) -> float:
        """What rounding its weights costs."""
        where = 2 * np.log2(self.scale(fill, steps) / self.finest)
        below = np.clip(where.astype(np.intp), 0, len(SCALES) - 2)
        part = np.clip(where - below, 0.0, 1.0)
        each = np.arange(len(self.rows))
        return float(np.sum(self.errors[each, below] * (1 - part) + self.errors[each, below + 1] * part))

    def cost(self, fill: float, steps: int = REFERENCE_STEPS) -> float:
        """Predicted seconds of the cheapest provable row."""
        weight, _ = self.integers(fill, steps)
        ends = np.zeros(weight.shape[1], np.int64), np.full(weight.shape[1], steps, np.int64)
        rows = rows_of(depthwise=self.depthwise)
        return predict_layer_cost(weight, ends, rows, self.site, self.time).cost


def make_layer(
    graph: FloatGraph, node: FloatNode, op: FloatConv2d | FloatLinear, importance: Reals, time: Predictor
) -> Layer:
    """Everything about a layer that does not depend on what its neighbours get."""
    rows = packed_rows(op).astype(np.float64)
    finest = best_scale(rows, importance)
    errors = np.stack([rounding_error(rows, finest * part, importance) for part in SCALES], axis=1)
    depthwise = isinstance(op, FloatConv2d) and op.is_depthwise()
    groups = op.groups if isinstance(op, FloatConv2d) and not depthwise else 1
    heaviest = np.maximum(lane_sums(rows, depthwise=depthwise), 1e-30)
    share = tile_share(importance.sum(axis=1) * heaviest**2, groups, tile_of(depthwise=depthwise))
    return Layer(node, op, rows, importance, finest, heaviest, errors, share, layer_site(graph, node, op), time)


def tile_share(worth: Reals, groups: int, tile_n: int) -> Reals:
    """(N,) fill of each output's tile in parts of the mean tile's.

    A tile at fill z costs about z and errs by about worth / z**2, so the best fills go with the cube root of worth.
    """
    per_group = len(worth) // groups
    tiles = [
        slice(group * per_group + start, group * per_group + min(start + tile_n, per_group))
        for group in range(groups)
        for start in range(0, per_group, tile_n)
    ]
    wanted = np.array([float(worth[tile].sum()) ** (1 / 3) for tile in tiles])
    mean = wanted.mean()
    relative = np.clip(wanted / mean, 1 / SPREAD, SPREAD) if mean > 0 else np.ones_like(wanted)
    share = np.empty(len(worth))
    for tile, one in zip(tiles, relative, strict=True):
        share[tile] = one
    return share
