"""What a layer's precision costs and what it is worth, as functions of how full its lanes are.

The *fill* of an output is the greatest sum one of its 16-bit lanes could reach over all of K, in parts of what a lane
holds: at fill 1 no spill is needed, at fill 8 about eight runs are. On raw u8 operands fill is (integer range of the
activations) x (integer weights), so halving either halves it; ``choose.lanes`` has other forms. All outputs of a tile
share their spills, so a tile has one fill: its heavier outputs get a coarser weight scale until they fit it, its
lighter ones keep their 127.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from oaq.capture.graph import FloatGraph, FloatNode, FloatProducts
from oaq.choose.lanes import Load, Rows, lane_signs, load_of
from oaq.choose.round import best_scale, fitted, packed_rows, rounding_error
from oaq.kernels.cost import Predictor, predict_layer_cost
from oaq.kernels.table import KernelRow
from oaq.kernels.work import Site
from oaq.ptq.observe import Reals
from oaq.ptq.times import layer_site

SCALES: Final = tuple(float(2.0 ** (step / 2)) for step in range(15))
"""Weight scales, in multiples of the finest, at which a channel's error is known; between them it is interpolated."""
SPREAD: Final = 4.0
"""Most by which the fill of a tile leaves its layer's."""
FILLS: Final = tuple(float(2.0 ** (step / 2)) for step in range(-4, 17))
"""Fills whose cost is known: at the first, 1 / SPREAD, no tile needs a spill."""
LIGHTEST: Final = 1e-30
"""Least load of an output: a channel without weights has one too."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer as the search sees it.

    Attributes:
        node: of the graph.
        op: its operator.
        rows: (N, K) float weights in packed K order.
        importance: (N, K) what a squared error of each weight costs.
        finest: (N,) weight scale that a layer without limits gets.
        signs: (N, lanes) sums of the positive weights of each lane, and of the negative ones negated.
        errors: (N, S) error of each output at ``finest * SCALES``.
        share: (N,) each output's part of its layer's fill: that of its tile.
        site: where it stands.
        time: predicts how long it takes.
        code_bits: its weights are integers of a codebook of so many bits; None: any of int8.
    """

    node: FloatNode
    op: FloatProducts
    rows: Reals
    importance: Reals
    finest: Reals
    signs: tuple[Rows, Rows]
    errors: Reals
    share: Reals
    site: Site
    time: Predictor
    code_bits: int | None = None
    _heaviest_at: dict[int, tuple[Reals, int]] = field(default_factory=dict, init=False, repr=False)

    @property
    def depthwise(self) -> bool:
        """Which family computes it."""
        return self.op.is_depthwise()

    @property
    def rows_to_take(self) -> tuple[KernelRow, ...]:
        """The rows of the target that may compute it."""
        return self.time.target.rows_of(_family(self.op))

    @property
    def measure(self) -> KernelRow:
        """The row of the target whose lanes are filled, and whose tile shares a fill."""
        return self.time.target.measure(_family(self.op))

    def load(self, steps: int) -> Load:
        """How its weights load those lanes by operands in [0, ``steps``]."""
        return load_of(self.measure, steps)

    def scale(self, fill: float, steps: int) -> Reals:
        """(N,) weight scale at which every output's fill is at most its tile's.

        Args:
            fill: of the layer; infinity for no limit.
            steps: integer range of the activations.
        """
        if not np.isfinite(fill):
            return self.finest
        greatest, limit = self._heaviest(steps)
        most = np.maximum(fill * self.share, 1.0) * limit
        return np.maximum(self.finest, greatest / most)

    def _heaviest(self, steps: int) -> tuple[Reals, int]:
        """(N,) load of the fullest lane, and how much a lane holds: the same for every fill."""
        if steps not in self._heaviest_at:
            load = self.load(steps)
            self._heaviest_at[steps] = np.maximum(load.greatest(self.signs), LIGHTEST), load.limit
        return self._heaviest_at[steps]

    def integers(self, fill: float, steps: int) -> tuple[np.ndarray, Reals]:
        """(N, K) int8 weights and their (N,) scale at a fill; at fill 1 every lane provably needs no spill."""
        scale, load = self.scale(fill, steps), self.load(steps)
        limit = np.where(fill * self.share <= 1.0 + 1e-9, load.limit, np.iinfo(np.int64).max)
        return fitted(self.rows, scale, limit, load, code_bits=self.code_bits)

    def errors_at(self, fills: Sequence[float], steps: int) -> Reals:
        """(Z,) what rounding its weights costs at each fill."""
        output = np.arange(len(self.rows))
        result = np.empty(len(fills))
        for index, fill in enumerate(fills):
            where = 2 * np.log2(self.scale(fill, steps) / self.finest)
            below = np.clip(where.astype(np.intp), 0, len(SCALES) - 2)
            part = np.clip(where - below, 0.0, 1.0)
            result[index] = np.dot(self.errors[output, below], 1 - part) + np.dot(self.errors[output, below + 1], part)
        return result

    @property
    def most_steps(self) -> int:
        """Activation range for which costs are counted, the widest there is; at equal fill they hardly depend on it."""
        return self.time.target.most_steps

    def cost(self, fill: float) -> float:
        """Predicted seconds of the cheapest provable row.

        Steps of zeros count like others: else whole tiles of a wide layer would be emptied to buy precision elsewhere.
        """
        steps = self.most_steps
        weight, _ = self.integers(fill, steps)
        ends = np.zeros(weight.shape[1], np.int64), np.full(weight.shape[1], steps, np.int64)
        return predict_layer_cost(weight, ends, self.rows_to_take, self.site, self.time, held=True).cost


def make_layer(
    graph: FloatGraph,
    node: FloatNode,
    op: FloatProducts,
    importance: Reals,
    time: Predictor,
    *,
    code_bits: int | None = None,
) -> Layer:
    """Everything about a layer that does not depend on what its neighbours get."""
    rows = packed_rows(op).astype(np.float64)
    finest = best_scale(rows, importance, code_bits=code_bits)
    errors = np.stack([rounding_error(rows, finest * part, importance, code_bits=code_bits) for part in SCALES], axis=1)
    depthwise = op.is_depthwise()
    groups = 1 if depthwise else op.channel_groups
    measure = time.target.measure(_family(op))
    load = load_of(measure, time.target.most_steps)
    signs = lane_signs(rows, load.accumulator)
    heaviest = np.maximum(load.greatest(signs), LIGHTEST)
    share = tile_share(importance.sum(axis=1) * heaviest**2, groups, measure.tile_n)
    site = layer_site(graph, node, op)
    return Layer(node, op, rows, importance, finest, signs, errors, share, site, time, code_bits)


def _family(op: FloatProducts) -> str:
    return "depthwise" if op.is_depthwise() else "gemm"


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
    fill = np.array([float(worth[tile].sum()) ** (1 / 3) for tile in tiles])
    mean = fill.mean()
    relative = np.clip(fill / mean, 1 / SPREAD, SPREAD) if mean > 0 else np.ones_like(fill)
    share = np.empty(len(worth))
    for tile, fraction in zip(tiles, relative, strict=True):
        share[tile] = fraction
    return share
