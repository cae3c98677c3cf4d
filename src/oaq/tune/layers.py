"""A layer's candidates: coarser weights by fill, with the spills they need on every row and the error they make.

The *fill* of an output is the greatest sum one of its 16-bit lanes could reach over all of K, in parts of what a lane
holds: at fill 1 no spill is needed. All outputs of a tile share their spills, so a tile has one fill. The weights that
are given count as the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.choose.bound import Bound
from oaq.choose.feedback import Feedback, error_feedback, fed_back_at, feedback_of
from oaq.choose.lanes import Load
from oaq.choose.round import fitted
from oaq.choose.target import MOST_BUDGET, Target, make_cells
from oaq.kernels.cost import Predictor, predict_layer_cost
from oaq.kernels.table import KernelRow
from oaq.kernels.work import Site
from oaq.numerics.accumulator import AVX2_ACC16, DEPTHWISE_ACC16
from oaq.numerics.formats import S8_WEIGHT, signed
from oaq.overflow.spill import RunCount, count_runs
from oaq.program.int_program import Node
from oaq.tune.observe import Moments
from oaq.tune.rebuild import LayerWeights
from oaq.tune.timing import Timings

Reals = NDArray[np.float64]
STEPS: Final = tuple(sorted({round(255 * 2.0 ** (-step / 4)) for step in range(15)}, reverse=True))
"""Step counts a tensor may have: 255 down to 23, four per bit."""
FILLS: Final = tuple(float(2.0 ** (step / 2)) for step in range(-4, 13))
"""Fills that spills are counted at: at the first no tile needs one. One more candidate leaves weights as they are."""
LANE_LIMIT: Final = signed(16).hi
REFERENCE_STEPS: Final = 255
"""Activation range for which spills are counted; at equal fill they hardly depend on it."""
COARSER: Final = tuple(float(2.0 ** (step / 2)) for step in range(13))
"""Weight steps at which an output's error is known."""
TRIALS: Final = 3
"""Scales tried for every output between the finest and the one that needs no budget."""
EXTREME: Final = 4.0
"""Most by which a tile's fill may differ from its layer's."""


@dataclass(frozen=True, eq=False)
class TuneLayer:
    """One summing node as the search sees it.

    Attributes:
        node: of the program.
        rows: (N, K) integer weights in packed K order, as real numbers.
        depthwise: which family computes it.
        groups: that tiles must not span.
        moments: (G, K, K) damped covariance of its operands.
        mean: (G, K) of its operands, less the zero point.
        importance: (N, K) squared error at the output, in its steps, of a squared error of each weight.
        errors: (N, S) error of each output, as ``error`` counts it, at steps of ``COARSER``.
        heaviest: (N,) greatest sum of weights of one sign in one lane.
        share: (N,) fill of each output's tile in parts of the layer's.
        span: integer range of its operands as loaded, in steps.
    """

    node: Node
    rows: Reals
    depthwise: bool
    groups: int
    moments: Reals
    mean: Reals
    errors: Reals
    importance: Reals
    heaviest: Reals
    share: Reals
    span: int

    @property
    def integers(self) -> NDArray[np.signedinteger[Any]]:
        """(N, K) the weights as they are."""
        assert isinstance(self.node.op, ops.Products)  # only summing nodes become layers
        return self.node.op.rows

    @cached_property
    def feedback(self) -> Feedback:
        """How errors of its weights spread; the same for every candidate."""
        return feedback_of(self.moments)

    @property
    def load(self) -> Load:
        """How its weights load the lanes of the 16-bit rows: each sign by itself."""
        return _load(depthwise=self.depthwise)

    def limits(self, fill: float, steps: int) -> Reals:
        """(N,) most that a lane's weights of one sign may sum to."""
        return np.minimum(np.maximum(fill * self.share, 1.0) * (LANE_LIMIT // steps), MOST_BUDGET)

    def step(self, fill: float, steps: int) -> Reals:
        """(N,) what one step of a new weight is in old ones, at least 1, so that every lane keeps its fill."""
        return np.maximum(1.0, self.heaviest / self.limits(fill, steps))

    def nearest(self, fill: float, steps: int) -> LayerWeights:
        """Weights rounded to nearest within a fill."""
        limit = np.floor(self.limits(fill, steps)).astype(np.int64)
        weight, step = fitted(self.rows, self.step(fill, steps), limit, self.load)
        return LayerWeights(weight, step)

    def fed_back(self, fill: float, steps: int) -> LayerWeights:
        """Weights rounded with error feedback within a fill; no output is worse than rounded to nearest."""
        unit, bound = np.ones(len(self.rows)), self._bound(fill, steps)
        weight, step = error_feedback(self.rows, unit, bound, self.moments, feedback=self.feedback, trials=TRIALS)
        return LayerWeights(weight, step, self._shift(weight, step))

    def fed_back_at(self, step: Reals, fill: float, steps: int) -> LayerWeights:
        """Weights rounded with error feedback at given steps, none finer than those of ``fed_back``."""
        weight = fed_back_at(self.rows, step, self._bound(fill, steps), self.moments, feedback=self.feedback)
        return LayerWeights(weight, step, self._shift(weight, step))

    def _bound(self, fill: float, steps: int) -> Bound:
        most = self.limits(fill, steps) if np.isfinite(fill) else np.full(len(self.rows), float(MOST_BUDGET))
        budget = np.floor(most).astype(np.int64)
        cells = make_cells(self.rows.shape[1], Target("avx2"), depthwise=self.depthwise)
        return Bound(S8_WEIGHT.hi, cells, budget, budget)

    def _shift(self, weight: NDArray[np.int8], step: Reals) -> Reals:
        """(N,) what rounding took from the mean of each sum."""
        wrong = (weight * step[:, None] - self.rows).reshape(len(self.mean), -1, self.rows.shape[1])
        return -np.einsum("gnk,gk->gn", wrong, self.mean).reshape(-1)

    def predicted_error(self, fill: float, steps: int) -> float:
        """``error`` of rounding to nearest at a fill, interpolated between ``COARSER``."""
        where = 2 * np.log2(self.step(fill, steps))
        below = np.clip(where.astype(np.intp), 0, len(COARSER) - 2)
        part = np.clip(where - below, 0.0, 1.0)
        outputs = np.arange(len(self.rows))
        return float((self.errors[outputs, below] * (1 - part) + self.errors[outputs, below + 1] * part).sum())

    def error(self, weights: LayerWeights) -> float:
        """Squared error of the output in its steps, summed over outputs; the mean is taken back by the bias."""
        wrong = weights.weight * weights.step[:, None] - self.rows
        return float((self.importance * wrong**2).sum())


def tune_layer(node: Node, moments: Moments, span: int, tile_n: int, output_weight: Reals) -> TuneLayer:
    """Everything about a layer that does not depend on what its neighbours get.

    Args:
        node: a Conv2d or Linear.
        moments: of its operands.
        span: steps of the tensor it reads.
        tile_n: outputs per tile of the narrow row it will mostly run on.
        output_weight: (N,) squared steps of the output per squared step of each sum.
    """
    op = node.op
    assert isinstance(op, ops.Products)
    rows = op.rows.astype(np.float64)
    depthwise = ops.family_of(op) == "depthwise"
    variance = np.einsum("gkk->gk", moments.covariance)
    importance = np.repeat(variance, len(rows) // len(variance), axis=0) * output_weight[:, None]
    heaviest = np.maximum(_load(depthwise=depthwise).of_weights(rows), 1e-30)
    worth = importance.sum(axis=1) * heaviest**2
    share = _tile_share(worth, op.tile_groups, tile_n)
    errors = np.stack(
        [(importance * (np.rint(rows / part) * part - rows) ** 2).sum(axis=1) for part in COARSER], axis=1
    )
    return TuneLayer(
        node,
        rows,
        depthwise,
        op.tile_groups,
        moments.covariance,
        moments.mean,
        errors,
        importance,
        heaviest,
        share,
        span,
    )


def _load(*, depthwise: bool) -> Load:
    return Load(DEPTHWISE_ACC16 if depthwise else AVX2_ACC16, 1, 0, LANE_LIMIT)


def _tile_share(worth: Reals, groups: int, tile_n: int) -> Reals:
    """(N,) fill of each tile in parts of the mean tile's: the cube root of what its errors are worth."""
    per_group = len(worth) // groups
    starts = [group * per_group + start for group in range(groups) for start in range(0, per_group, tile_n)]
    sizes = np.diff(np.append(starts, len(worth)))
    sums = np.cbrt(np.maximum(np.add.reduceat(worth, starts), 1e-300))
    relative = np.clip(sums / max(float(np.average(sums, weights=sizes)), 1e-300), 1 / EXTREME, EXTREME)
    return np.repeat(relative, sizes)


@dataclass(frozen=True, eq=False)
class Stand:
    """Where a layer stands on one instruction set: which rows it may take, which the planner takes, what each costs.

    Attributes:
        rows: of the layer's family.
        site: of the layer.
        planner: predicts as ``oaq.plan`` does, so that the row that will run is the row that is costed.
        timings: measured lines of the rows.
    """

    rows: tuple[KernelRow, ...]
    site: Site
    planner: Predictor
    timings: Timings

    def seconds(self, layer: TuneLayer, weight: NDArray[np.signedinteger[Any]], steps: int) -> float:
        """Measured seconds for (N, K) integers that read ``steps`` steps."""
        ends = np.zeros(weight.shape[1], np.int64), np.full(weight.shape[1], steps, np.int64)
        name = predict_layer_cost(weight, ends, self.rows, self.site, self.planner).row
        row = next(row for row in self.rows if row.name == name)
        assert row.accumulator is not None  # the planner takes no other
        runs = count_runs(weight, *ends, row.accumulator, row.tile_n, groups=layer.groups)
        return self.timings.lines[layer.node.name][row.name].seconds(_extra(runs, row))


def cost_table(layer: TuneLayer, stand: Stand, steps: Sequence[int]) -> Reals:
    """(S, Z + 1) measured seconds: by step count, at ``FILLS`` and then with the weights as they are.

    At equal fill, spills hardly depend on steps, so those are counted once, at ``REFERENCE_STEPS``. Weights that stay
    as they are fill less where their operands have fewer steps: counted for each.
    """
    unlimited = [stand.seconds(layer, layer.integers, count) for count in steps]
    most, counted = max(unlimited), list[float]()
    for fill in FILLS:
        if counted and counted[-1] >= most:
            counted.append(most)
            continue
        weight = layer.nearest(fill, REFERENCE_STEPS).weight
        counted.append(min(stand.seconds(layer, weight, REFERENCE_STEPS), most))
    filled = np.tile(np.maximum.accumulate(counted), (len(steps), 1))
    return np.concatenate([filled, np.array(unlimited)[:, None]], axis=1)


def _extra(runs: RunCount, row: KernelRow) -> float:
    """Spills beyond one per tile of a narrow row; a row that spills at every step has them in its fixed time."""
    limited = row.accumulator is not None and row.accumulator.max_run is not None
    issued_again = runs.issues - runs.tiles * runs.steps
    return float(issued_again if limited else runs.segments - runs.tiles + issued_again)
