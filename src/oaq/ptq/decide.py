"""What every tensor and every layer gets: the search under a budget or bits by hand, then rounding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final

import numpy as np
import torch

from oaq.capture.graph import LayerParams, TensorParams
from oaq.choose.bound import Bound, coarsened
from oaq.choose.feedback import feedback_gain
from oaq.choose.round import best_scale
from oaq.choose.target import Target
from oaq.kernels.cost import LayerCost, predict_layer_cost, relative
from oaq.ptq.bias import MeanInputs
from oaq.ptq.clip import choose_clip
from oaq.ptq.curves import Layer, make_layer
from oaq.ptq.daq import Daq, midrise_step, midrise_weights
from oaq.ptq.equalize import Equalized
from oaq.ptq.execute import layers
from oaq.ptq.levelled import Levelled
from oaq.ptq.moments import Moments
from oaq.ptq.observe import Reals
from oaq.ptq.options import Options
from oaq.ptq.pieces import WHOLE
from oaq.ptq.progress import Steps
from oaq.ptq.rounding import INFORMED, LayerData, filled, layer_data, targeted
from oaq.ptq.search import Candidates, Choice, cost_curve, make_candidates, search, widest
from oaq.ptq.sensitivity import measure_sensitivity
from oaq.ptq.settled import settled_params
from oaq.ptq.side_by_side import side_by_side
from oaq.ptq.times import other_seconds, predictor_of_graph
from oaq.ptq.uniform import Uniform, uniform_tensors
from oaq.ptq.words import Ends, Prices, layer_ends, share

ATTEMPTS: Final = 8
"""Maximum retries of the search; each corrects the budget by what the plan before it really costs."""
CLOSE: Final = 0.02
"""Part of what a budget allows beyond 1.0 that may stay unused."""
PRICED, FACTORED = 0.2, 0.5
"""Parts of the time of a choice after which layers have prices, and covariances have factors."""
OVERSHOOT: Final = 1.5
"""Factor on what a rounding cost too much, by which the budget of its search is lowered."""


@dataclass(frozen=True)
class LayerChoice:
    """What one layer got.

    Attributes:
        name: of the node.
        steps: integer range of the tensor it reads: its effective range is [0, steps].
        fill: most its fullest 16-bit lane could hold over all of K, in parts of the register; infinity: no limit.
        predicted: what it costs on the cheapest provable kernel row, steps of zeros included.
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
        remaining: predicted seconds of all other nodes.
        error: predicted noise at the outputs in parts of their power; of choices by hand, not a number.
    """

    params: Mapping[str, TensorParams]
    fills: Mapping[str, float]
    layers: Mapping[str, LayerParams]
    costs: tuple[LayerChoice, ...]
    remaining: float
    error: float

    @property
    def cost(self) -> float:
        """Predicted time of the network, as a multiple of the same with 16-bit sums without a spill."""
        return relative((layer.predicted for layer in self.costs), self.remaining)


class Decider:
    """Sensitivities of every tensor and weight, and the choices made with them."""

    def __init__(
        self,
        balanced: Equalized,
        chunks: list[dict[str, torch.Tensor]],
        roots: Mapping[str, str],
        options: Options,
        steps: Steps | None = None,
        *,
        levels: Levelled | None = None,
    ) -> None:
        """What is known before anything is chosen.

        Args:
            balanced: the network.
            chunks: calibration samples.
            roots: of every tensor, the first of those that share its integers.
            options: what is asked for.
            steps: told of what begins.
            levels: what of the network reads few levels, and the tensors whose integers that decides.
        """
        self._levels = levels
        self._told = steps or Steps(None)
        graph = self._graph = balanced.graph
        self._roots, self._options = roots, options
        self._order = list(dict.fromkeys(roots[name] for name in graph.shapes))
        samples = sum(len(next(iter(chunk.values()))) for chunk in chunks)
        means, moments = MeanInputs(graph), Moments(graph, samples, options.informed_terms)

        def watch(values: Mapping[str, torch.Tensor]) -> None:
            if options.correct_bias:
                means.add(values)
            if options.rounding != "nearest":
                moments.add(values)

        counted = self._told.count(chunks, "batch")
        self._sensitivity = measure_sensitivity(graph, balanced.stats, self._order, counted, watch=watch)
        self.means = means.value()
        self._sums = moments
        self._budget = options.allowed
        time = predictor_of_graph(balanced.graph, options.kernels)
        self._remaining = other_seconds(balanced.graph, time)
        pieces = options.pieces
        self.layers = [
            make_layer(
                balanced.graph,
                node,
                op,
                self._sensitivity.weights[node.name],
                time,
                code_bits=None if pieces is None else pieces.code_bits(balanced.graph, node),
            )
            for node, op in layers(balanced.graph)
        ]

    def decide(self) -> Decided:
        """As the options ask for."""
        if self._options.uniform is not None:
            return self._uniform(self._options.uniform)
        if self._levels is not None and self._options.daq is not None:
            return self._by_levels(self._levels, self._options.daq)
        if self._options.rounding == "nearest":
            return self.within(self._budget)
        return self._rounded_within(self._budget)

    def within(self, budget: float | None) -> Decided:
        """The best choice whose real cost, counted on its integers rounded to nearest, is within the budget."""
        if budget is None:
            return self._nearest(widest(self.candidates))
        best = self._nearest(search(self.candidates, self.no_spill * (1 + 1e-9)))
        low, high, allowed = 1.0, float("inf"), budget
        for _ in range(ATTEMPTS if budget > 1.0 else 0):
            attempt = self._nearest(
                search(self.candidates, allowed * (self.no_spill + self._remaining) - self._remaining)
            )
            if attempt.cost <= budget:
                low = allowed
                best = min(best, attempt, key=lambda decided: decided.error)
                if attempt.cost > budget - CLOSE * (budget - 1.0):
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
                self._sensitivity.tensors[root],
                [layer for layer in self.layers if self._roots[layer.node.inputs[0]] == root],
                self._curves,
                self._options.calibration,
                gains=self._gains,
            )
            for root in self._order
        ]

    @property
    def least_error(self) -> float:
        """What 8 bits everywhere are predicted to have; of choices by hand, not a number."""
        return float("nan") if self._options.by_hand is not None else widest(self.candidates).error

    @cached_property
    def no_spill(self) -> float:
        """Least cost of all layers there is."""
        return sum(float(curve[0]) for curve in self._curves.values())

    @cached_property
    def _curves(self) -> dict[str, Reals]:
        curves = side_by_side(cost_curve, self._told_of("times", 0.0, PRICED))
        return {layer.node.name: curve for layer, curve in zip(self.layers, curves, strict=True)}

    @cached_property
    def _data(self) -> dict[str, LayerData]:
        """What roundings that look at data know of layers, by node name; the sums behind it are freed."""
        sums, self._sums = self._sums, None
        if sums is None:
            return {}
        names = sums.names
        looked_at = (layer for layer in self._told_of("covariance", PRICED, FACTORED) if layer.node.name in names)
        told = zip(sums.covariances(), looked_at, strict=True)
        return dict(side_by_side(lambda named: (named[0], layer_data(named[1])), (named for named, _ in told)))

    def _told_of(self, kind: str, start: float, end: float) -> Iterator[Layer]:
        """Every layer, told of as it is reached, from one part of the choice to another."""
        for index, layer in enumerate(self.layers):
            self._told.reach(f"{layer.node.name}: {kind}", start + (end - start) * index / len(self.layers))
            yield layer

    @cached_property
    def _gains(self) -> dict[str, float] | None:
        """Error that roundings by data leave, in parts of what rounding to nearest leaves, by node name."""
        if self._options.rounding == "nearest":
            return None
        return {name: feedback_gain(data.moments, data.feedback) for name, data in self._data.items()}

    def _steps(self, layer: Layer, params: Mapping[str, TensorParams]) -> TensorParams:
        return params[self._roots[layer.node.inputs[0]]]

    def _nearest(self, choice: Choice) -> Decided:
        def rounded(layer: Layer) -> tuple[LayerParams, LayerChoice]:
            x, fill = self._steps(layer, choice.params), choice.fills[layer.node.name]
            weight, scale = layer.integers(fill, x.range.hi)
            bound = filled(layer, fill, x.range.hi)
            ends = self._ends(layer, choice.params)
            params, weight = settled_params(layer, weight, scale, ends, bound, corrects=self._corrects)
            return params, _cost(layer, weight, params, ends, fill)

        return self._decided(choice.params, choice.fills, side_by_side(rounded, self.layers), choice.error)

    def _rounded_within(self, budget: float | None) -> Decided:
        """The best choice under a rounding that looks at data; the search aims lower until its cost is within budget.

        Where that never happens, rounding to nearest, which kept the budget, or came as near to it as possible.
        """
        aim, plain = budget, self.within(budget)
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
            if budget is None or aim is None or rounded.cost <= max(budget, plain.cost * (1 + 1e-9)):
                return rounded
            if aim == 1.0:
                break
            aim = max(1.0, aim - OVERSHOOT * (rounded.cost - budget))
            nearest = self.within(aim)
        return plain

    def _uniform(self, uniform: Uniform) -> Decided:
        params = uniform_tensors(
            uniform,
            self._graph,
            self.layers,
            roots=self._roots,
            histograms=self._sensitivity.tensors,
            calibration=self._options.calibration,
        )
        bits = {layer.node.name: uniform.bits(self._graph, layer)[0] for layer in self.layers}
        if self._options.pieces is not None:
            bits |= {layer.node.name: WHOLE for layer in self.layers if layer.code_bits is None}
        return self._by_bits(params, bits, uniform.target)

    def _by_levels(self, levels: Levelled, daq: Daq) -> Decided:
        """Few levels where they are decided, 8 bits in all other tensors."""
        params = {
            root: levels.fixed.get(root) or choose_clip(histogram, 255, self._options.calibration).params
            for root, histogram in self._sensitivity.tensors.items()
        }
        bits = {layer.node.name: daq.weight_bits if layer.node.name in levels.layers else 8 for layer in self.layers}
        midrise = levels.layers if daq.weights == "midrise" else frozenset[str]()
        return self._by_bits(params, bits, None, midrise)

    def _by_bits(
        self,
        params: Mapping[str, TensorParams],
        bits: Mapping[str, int],
        target: Target | None,
        midrise: frozenset[str] = frozenset(),
    ) -> Decided:
        bounds, scales = {}, {}
        for layer in self.layers:
            name, steps = layer.node.name, self._steps(layer, params).range.hi
            if name in midrise:
                assert self._options.daq is not None
                bounds[name] = replace(targeted(layer, 8, target, steps), clip=2 ** bits[name] - 1)
                scales[name] = np.full(len(layer.rows), midrise_step(layer.rows, self._options.daq))
                continue
            bounds[name] = targeted(layer, bits[name], target, steps)
            scales[name] = best_scale(layer.rows, layer.importance, bounds[name].clip, code_bits=layer.code_bits)
        fills = {layer.node.name: float("inf") for layer in self.layers}
        return self._rounded(params, fills, scales, bounds, float("nan"), midrise=midrise)

    def _rounded(
        self,
        params: Mapping[str, TensorParams],
        fills: Mapping[str, float],
        scales: Mapping[str, Reals],
        bounds: Mapping[str, Bound],
        error: float,
        *,
        midrise: frozenset[str] = frozenset(),
    ) -> Decided:
        data = {} if self._options.rounding == "nearest" else self._data

        def rounded(layer: Layer) -> tuple[LayerParams, LayerChoice]:
            name = layer.node.name
            bound, ends = bounds[name], self._ends(layer, params)
            if name in midrise:
                odd = partial(midrise_weights, layer.rows, bits=bound.clip.bit_length())
                layer_params, weight = settled_params(
                    layer, odd(scales[name]), scales[name], ends, bound, round_again=odd
                )
            elif name not in data:
                weight, scale = coarsened(layer.rows, scales[name], bound)
                layer_params, weight = settled_params(layer, weight, scale, ends, bound, corrects=self._corrects)
            else:
                layer_params, weight = self._informed(layer, scales[name], ends, bound, data[name])
            return layer_params, _cost(layer, weight, layer_params, ends, fills[name])

        told = self._told_of("rounding", FACTORED, 1.0)
        learns = self._options.rounding == "adaround"  # by torch, which takes all CPUs for one layer
        return self._decided(params, fills, map(rounded, told) if learns else side_by_side(rounded, told), error)

    def _decided(
        self,
        params: Mapping[str, TensorParams],
        fills: Mapping[str, float],
        rounded: Iterable[tuple[LayerParams, LayerChoice]],
        error: float,
    ) -> Decided:
        layer_params, costs = {}, []
        for layer, (chosen, cost) in zip(self.layers, rounded, strict=True):
            layer_params[layer.node.name] = chosen
            costs.append(cost)
        return Decided(params, fills, layer_params, tuple(costs), self._remaining, error)

    def _ends(self, layer: Layer, params: Mapping[str, TensorParams]) -> Ends:
        root = self._roots[layer.node.output]
        for_speed = self._budget is not None and self._options.by_hand is None
        rounding = float(self._sensitivity.tensors[root].weight.sum()) / 12 if for_speed else 0.0
        prices = Prices(layer.importance, rounding, layer.measure.tile_n, layer.code_bits)
        return layer_ends(layer.node, self._steps(layer, params), params[root], self._options.requantize, prices)

    @property
    def _corrects(self) -> bool:
        """The spread of piecewise weights is made up for. Roundings that look at data would lose by it."""
        return self._options.correct_bias and self._options.rounding == "nearest"

    def _informed(
        self, layer: Layer, scale: Reals, ends: Ends, bound: Bound, data: LayerData
    ) -> tuple[LayerParams, np.ndarray]:
        """Round one layer by a method that looks at data."""
        method = INFORMED[self._options.rounding]
        weight, scale = method.begin(layer.rows, scale, bound, data)
        if method.is_last:
            fitted = settled_params(layer, weight, scale, ends, bound)[0].weight_scale.astype(np.float64)
            weight, scale = method.at(layer.rows, fitted, bound, data), fitted
        return settled_params(
            layer,
            weight,
            scale,
            ends,
            bound,
            round_again=lambda settled: method.at(layer.rows, settled, bound, data),
        )


def _cost(layer: Layer, weight: np.ndarray, params: LayerParams, ends: Ends, fill: float) -> LayerChoice:
    x = ends.x.range
    ends_of_x = np.full(weight.shape[1], x.lo, np.int64), np.full(weight.shape[1], x.hi, np.int64)
    site = replace(layer.site, words=share(weight, params, ends))
    predicted = predict_layer_cost(weight, ends_of_x, layer.rows_to_take, site, layer.time, held=True)
    return LayerChoice(layer.node.name, x.hi, fill, predicted)
