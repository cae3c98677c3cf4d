"""What every tensor and every layer gets: the search under a budget or bits by hand, then rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch

from oaq.capture.graph import LayerParams, TensorParams
from oaq.kernels.cost import LayerCost, predict_layer_cost, relative
from oaq.ptq.bound import Bound, coarsened
from oaq.ptq.curves import Layer, make_layer
from oaq.ptq.equalize import Equalized
from oaq.ptq.execute import layers
from oaq.ptq.moments import measure_moments
from oaq.ptq.observe import Reals
from oaq.ptq.options import Options
from oaq.ptq.registers import rows_of
from oaq.ptq.round import best_scale, unpacked
from oaq.ptq.rounding import INFORMED, filled, targeted
from oaq.ptq.search import Candidates, Choice, cost_curve, make_candidates, search, whole
from oaq.ptq.sensitivity import measure_sensitivity
from oaq.ptq.times import other_seconds, predictor_of_graph
from oaq.ptq.uniform import Uniform, uniform_tensors

LARGEST_BIAS: Final = 2.0**28
"""Of an output whose weights are nearly nothing beside its bias: its weight scale grows until the bias fits."""
ATTEMPTS: Final = 8
"""At most so often is the search repeated with a budget corrected by what the plan really costs."""
CLOSE: Final = 0.02
"""Part of what a budget allows beyond 1.0 that may stay unused."""
OVERSHOOT: Final = 1.5
"""By how much more than what a rounding cost too much the budget of its search is lowered."""


@dataclass(frozen=True)
class LayerChoice:
    """What one layer got.

    Attributes:
        name: of the node.
        steps: integer range of the tensor it reads: its effective range is [0, steps].
        fill: most its fullest 16-bit lane could hold over all of K, in parts of the register; infinity: no limit.
        predicted: what it costs on the cheapest provable kernel row.
    """

    name: str
    steps: int
    fill: float
    predicted: LayerCost


@dataclass(frozen=True, eq=False)
class Decided:
    """Integers of the whole network.

    Attributes:
        params: by root tensor.
        fills: by node name; infinity for no limit.
        layers: by node name.
        costs: of every layer, in order.
        others: predicted seconds of all other nodes.
        error: predicted noise at the outputs in parts of their power; of choices by hand, not a number.
    """

    params: Mapping[str, TensorParams]
    fills: Mapping[str, float]
    layers: Mapping[str, LayerParams]
    costs: tuple[LayerChoice, ...]
    others: float
    error: float

    @property
    def cost(self) -> float:
        """Predicted time of the network, as a multiple of the same with 16-bit sums without a spill."""
        return relative((one.predicted for one in self.costs), self.others)


class Decider:
    """Sensitivities of every tensor and weight, and the choices made with them."""

    def __init__(
        self, balanced: Equalized, kept: list[dict[str, torch.Tensor]], roots: Mapping[str, str], options: Options
    ) -> None:
        """``kept``: calibration chunks; ``roots``: of every tensor, the first of those that share its integers."""
        self._graph, self._kept, self._roots, self._options = balanced.graph, kept, roots, options
        self._order = list(dict.fromkeys(roots[name] for name in balanced.graph.shapes))
        self._found = measure_sensitivity(balanced.graph, balanced.stats, self._order, kept)
        time = predictor_of_graph(balanced.graph)
        self._others = other_seconds(balanced.graph, time)
        self.layers = [
            make_layer(balanced.graph, node, op, self._found.weights[node.name], time)
            for node, op in layers(balanced.graph)
        ]

    def decide(self) -> Decided:
        """As the options ask for."""
        if self._options.uniform is not None:
            return self._uniform(self._options.uniform)
        if self._options.rounding == "nearest":
            return self.within(self._options.budget)
        return self._rounded_within(self._options.budget)

    def within(self, budget: float | None) -> Decided:
        """The best choice whose real cost, counted on its integers rounded to nearest, is within the budget."""
        if budget is None:
            return self._nearest(whole(self.candidates))
        best = self._nearest(search(self.candidates, self.no_spill * (1 + 1e-9)))
        low, high, allowed = 1.0, float("inf"), budget
        for _ in range(ATTEMPTS if budget > 1.0 else 0):
            made = self._nearest(search(self.candidates, allowed * (self.no_spill + self._others) - self._others))
            if made.cost <= budget:
                low = allowed
                best = min(best, made, key=lambda each: each.error)
                if made.cost > budget - CLOSE * (budget - 1.0):
                    break
            else:
                high = allowed
            allowed = (low + high) / 2 if high < float("inf") else 1.0 + (allowed - 1.0) * 1.25
        return best

    @cached_property
    def candidates(self) -> list[Candidates]:
        """What the search chooses from: every tensor with its readers."""
        return [
            make_candidates(
                root,
                self._found.tensors[root],
                [layer for layer in self.layers if self._roots[layer.node.inputs[0]] == root],
                self._curves,
                self._options.calibration,
            )
            for root in self._order
        ]

    @cached_property
    def no_spill(self) -> float:
        """Least cost of all layers there is."""
        return sum(float(curve[0]) for curve in self._curves.values())

    @cached_property
    def _curves(self) -> dict[str, Reals]:
        return {layer.node.name: cost_curve(layer) for layer in self.layers}

    @cached_property
    def _moments(self) -> dict[str, Reals]:
        return measure_moments(self._graph, self._kept)

    def _steps(self, layer: Layer, params: Mapping[str, TensorParams]) -> TensorParams:
        return params[self._roots[layer.node.inputs[0]]]

    def _nearest(self, choice: Choice) -> Decided:
        chosen, costs = {}, []
        for layer in self.layers:
            x, fill = self._steps(layer, choice.params), choice.fills[layer.node.name]
            weight, scale = layer.integers(fill, x.range.hi)
            bound = filled(layer, fill, x.range.hi)
            chosen[layer.node.name], weight = _layer_params(layer, weight, scale, x, bound)
            costs.append(_cost(layer, weight, x, fill))
        return Decided(choice.params, choice.fills, chosen, tuple(costs), self._others, choice.error)

    def _rounded_within(self, budget: float | None) -> Decided:
        """The same with a rounding that looks at data; the search aims lower until even its cost is within the budget.

        Where that never happens, rounding to nearest, which kept the budget.
        """
        asked, plain = budget, self.within(budget)
        nearest = plain
        for _ in range(ATTEMPTS):
            bounds = {
                layer.node.name: filled(
                    layer, nearest.fills[layer.node.name], self._steps(layer, nearest.params).range.hi
                )
                for layer in self.layers
            }
            scales = {layer.node.name: layer.finest for layer in self.layers}
            rounded = self._rounded(nearest.params, nearest.fills, scales, bounds, nearest.error)
            if budget is None or asked is None or rounded.cost <= budget:
                return rounded
            if asked == 1.0:
                break
            asked = max(1.0, asked - OVERSHOOT * (rounded.cost - budget))
            nearest = self.within(asked)
        return plain

    def _uniform(self, uniform: Uniform) -> Decided:
        params = uniform_tensors(
            uniform,
            self._graph,
            self.layers,
            roots=self._roots,
            histograms=self._found.tensors,
            calibration=self._options.calibration,
        )
        bounds, scales = {}, {}
        for layer in self.layers:
            bits, _ = uniform.bits(self._graph, layer)
            bound = targeted(layer, bits, uniform.target, self._steps(layer, params).range.hi)
            bounds[layer.node.name] = bound
            scales[layer.node.name] = best_scale(layer.rows, layer.importance, bound.clip)
        fills = {layer.node.name: float("inf") for layer in self.layers}
        return self._rounded(params, fills, scales, bounds, float("nan"))

    def _rounded(
        self,
        params: Mapping[str, TensorParams],
        fills: Mapping[str, float],
        scales: Mapping[str, Reals],
        bounds: Mapping[str, Bound],
        error: float,
    ) -> Decided:
        chosen, costs = {}, []
        for layer in self.layers:
            name, x = layer.node.name, self._steps(layer, params)
            if self._options.rounding == "nearest":
                weight, scale = coarsened(layer.rows, scales[name], bounds[name])
            else:
                round_layer = INFORMED[self._options.rounding]
                weight, scale = round_layer(layer.rows, scales[name], bounds[name], self._moments[name])
            chosen[name], weight = _layer_params(layer, weight, scale, x, bounds[name])
            costs.append(_cost(layer, weight, x, fills[name]))
        return Decided(params, fills, chosen, tuple(costs), self._others, error)


def _layer_params(
    layer: Layer, weight: np.ndarray, scale: Reals, x: TensorParams, bound: Bound
) -> tuple[LayerParams, np.ndarray]:
    """Weights, their scale, and the bias at the scale of the sums; and the (N, K) integers in packed K order."""
    bias = layer.op.bias.astype(np.float64)
    scale = scale.astype(np.float32).astype(np.float64)
    least = np.abs(bias) / (x.affine.scale * LARGEST_BIAS)
    if (small := scale < least).any():
        weight, scale = weight.copy(), np.where(small, least, scale)
        weight[small], scale[small] = coarsened(layer.rows[small], scale[small], bound.of(small))
        scale = scale.astype(np.float32).astype(np.float64)
    steps = np.rint(bias / (x.affine.scale * scale)).astype(np.int32)
    return LayerParams(unpacked(weight, layer.op), scale.astype(np.float32), steps), weight  # type: ignore[arg-type]


def _cost(layer: Layer, weight: np.ndarray, x: TensorParams, fill: float) -> LayerChoice:
    ends = np.full(weight.shape[1], x.range.lo, np.int64), np.full(weight.shape[1], x.range.hi, np.int64)
    rows = rows_of(depthwise=layer.depthwise)
    found = predict_layer_cost(weight, ends, rows, layer.site, layer.time)
    return LayerChoice(layer.node.name, x.range.hi, fill, found)
