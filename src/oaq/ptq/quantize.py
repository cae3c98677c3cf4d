"""``quantize``: after training, from a network and data to an ``IntProgram`` whose sums will be cheap to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from oaq.capture.graph import FloatGraph, LayerParams, TensorParams
from oaq.capture.lower import lower, same_affine_groups
from oaq.errors import CalibrationError
from oaq.kernels.cost import predict_layer_cost
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.program.int_program import IntProgram
from oaq.ptq.bias import correct_biases
from oaq.ptq.clip import CALIBRATIONS, Calibration
from oaq.ptq.curves import Layer, make_layer
from oaq.ptq.equalize import Equalized, equalize
from oaq.ptq.execute import layers
from oaq.ptq.observe import Reals, observe
from oaq.ptq.registers import rows_of
from oaq.ptq.round import nearest, unpacked
from oaq.ptq.samples import Reservoir, chunks
from oaq.ptq.search import Candidates, Choice, cost_curve, make_candidates, search, whole
from oaq.ptq.sensitivity import measure_sensitivity

DEFAULT_BUDGET: Final = 1.09
"""Below it the error of EfficientNet-Lite0 begins to rise steeply: docs/decisions/0011."""
LARGEST_BIAS: Final = 2.0**28
"""Of an output whose weights are nearly nothing beside its bias: its weight scale grows until the bias fits."""
ATTEMPTS: Final = 8
"""At most so often is the search repeated with a budget corrected by what the plan really costs."""
CLOSE: Final = 0.02
"""Part of what a budget allows beyond 1.0 that may stay unused."""

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to quantize; the defaults are what ``oaq.quantize`` does.

    Attributes:
        budget: predicted cost allowed, as a multiple of the same network summed in 16 bits without any spill; 1.0: no
            spill at all; None: every layer W8A8 whatever it costs.
        calibration: "mse", "minmax" or "percentile": how a tensor's real range is chosen.
        equalize: bring the channels of a tensor to like size first, where the network allows it.
        correct_bias: take back what rounding does to the mean of each channel.
        requantize: the semantics of the program.
    """

    budget: float | None = DEFAULT_BUDGET
    calibration: Calibration = "mse"
    equalize: bool = True
    correct_bias: bool = True
    requantize: Semantics = "float32_half_even"

    def __post_init__(self) -> None:
        if self.budget is not None and not (1.0 <= self.budget < float("inf")):
            raise CalibrationError(
                "a budget is at least 1.0 (16-bit sums without a spill), or None for 8 bits everywhere; not "
                f"{self.budget!r}"
            )
        if self.calibration not in CALIBRATIONS:
            raise CalibrationError(f"calibration is one of {', '.join(CALIBRATIONS)}, not {self.calibration!r}")
        if self.requantize not in SEMANTICS:
            raise CalibrationError(f"requantize is one of {', '.join(SEMANTICS)}, not {self.requantize!r}")


@dataclass(frozen=True)
class LayerChoice:
    """What one layer got.

    Attributes:
        name: of the node.
        steps: integer range of the tensor it reads: its effective range is [0, steps].
        fill: most its fullest 16-bit lane could hold over all of K, in parts of the register; infinity: no limit.
        cost: predicted, in the units of ``kernels.cost``.
        without_spills: the same in one run per tile.
        row: cheapest provable kernel row.
        average_run: steps per spill on it.
    """

    name: str
    steps: int
    fill: float
    cost: float
    without_spills: float
    row: str
    average_run: float


@dataclass(frozen=True, eq=False)
class QuantizeReport:
    """What ``quantize`` did and why.

    Attributes:
        graph: the float network whose tensors the program's stand for: equalised.
        layers: in order.
        samples: calibration samples seen.
        predicted_error: noise at the outputs in parts of their power, to first order.
        cost: predicted, as a multiple of 16-bit sums without a spill.
        factors: by tensor, what equalisation multiplied its channels with.
    """

    graph: FloatGraph
    layers: tuple[LayerChoice, ...]
    samples: int
    predicted_error: float
    cost: float
    factors: Mapping[str, Reals]


def quantize(
    model: torch.nn.Module | FloatGraph,
    calibration_batches: Iterable[Any],
    *,
    example: torch.Tensor | None = None,
    name: str | None = None,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 (those of Options, which checks them)
) -> IntProgram:
    """Quantize a trained network.

    Args:
        model: a module ``capture.from_torch`` takes, or its graph.
        calibration_batches: float arrays or tensors (n, C, H, W), typical inputs prepared as for the float network;
            read once, so a generator will do. Several hundred samples are plenty, 64 usually enough.
        example: an input to capture with; None takes the first sample.
        name: of the program; None takes the module's class.
        progress: called with a word for what has begun.
        **options: ``budget``, ``calibration``, ``equalize``, ``correct_bias``, ``requantize``: see ``Options``.

    Returns:
        A program whose integers are decided; ``analyze`` proves its sums, ``plan`` picks kernels.

    Raises:
        CalibrationError: no data, data that does not fit, or options out of range.
        UnsupportedOp: an operator of the network is not known.
        ProgramError: weights are NaN or infinite.
    """
    return quantize_with_report(
        model, calibration_batches, Options(**options), example=example, name=name, progress=progress
    )[0]


def quantize_with_report(
    model: torch.nn.Module | FloatGraph,
    calibration_batches: Iterable[Any],
    options: Options | None = None,
    *,
    example: torch.Tensor | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> tuple[IntProgram, QuantizeReport]:
    """``quantize``, and what it did; arguments and errors as there."""
    options = options or Options()
    say = progress or (lambda _: None)
    graph, batches = _graph(model, calibration_batches, example, name)
    say("observe the float network")
    reservoir = Reservoir()
    stats = observe(graph, chunks(graph, batches), reservoir.add)
    balanced = equalize(graph, stats) if options.equalize else Equalized(graph, stats, {})
    kept = list(reservoir.chunks())
    say("measure what rounding costs")
    roots = {name: _root(balanced.graph, group) for group in same_affine_groups(graph) for name in group}
    table = _Table(balanced, kept, roots, options)
    say("choose integers under the budget")
    choice, chosen, costs = table.decide(options.budget)
    tensors = {tensor: choice.params[root] for tensor, root in roots.items()}
    if options.correct_bias:
        say("correct biases")
        chosen = correct_biases(balanced.graph, kept, tensors, chosen)
    program = lower(balanced.graph, tensors, chosen, options.requantize, _metadata(options, reservoir.seen))
    report = QuantizeReport(
        balanced.graph, tuple(costs), reservoir.seen, choice.error, _relative_cost(costs), balanced.factors
    )
    return program, report


class _Table:
    """Every candidate with its error and cost, and the search over them."""

    def __init__(
        self, balanced: Equalized, kept: list[dict[str, torch.Tensor]], roots: Mapping[str, str], options: Options
    ) -> None:
        graph, self._roots = balanced.graph, roots
        order = list(dict.fromkeys(roots[name] for name in graph.shapes))
        found = measure_sensitivity(graph, balanced.stats, order, kept)
        self.layers = [make_layer(graph, node, op, found.weights[node.name]) for node, op in layers(graph)]
        curves = {layer.node.name: cost_curve(layer) for layer in self.layers}
        self.candidates: list[Candidates] = [
            make_candidates(
                root,
                found.tensors[root],
                [layer for layer in self.layers if roots[layer.node.inputs[0]] == root],
                curves,
                options.calibration,
            )
            for root in order
        ]
        self.no_spill = sum(float(curve[0]) for curve in curves.values())

    def decide(self, budget: float | None) -> tuple[Choice, dict[str, LayerParams], list[LayerChoice]]:
        """The best choice whose real cost, counted on its integers, is within the budget."""
        if budget is None:
            return self._made(whole(self.candidates))
        best = self._made(search(self.candidates, self.no_spill * (1 + 1e-9)))
        low, high, allowed = 1.0, float("inf"), budget
        for _ in range(ATTEMPTS if budget > 1.0 else 0):
            made = self._made(search(self.candidates, allowed * self.no_spill))
            real = _relative_cost(made[2])
            if real <= budget:
                low = allowed
                best = min(best, made, key=lambda each: each[0].error)
                if real > budget - CLOSE * (budget - 1.0):
                    break
            else:
                high = allowed
            allowed = (low + high) / 2 if high < float("inf") else 1.0 + (allowed - 1.0) * 1.25
        return best

    def _made(self, choice: Choice) -> tuple[Choice, dict[str, LayerParams], list[LayerChoice]]:
        chosen, costs = {}, []
        for layer in self.layers:
            params, fill = choice.params[self._roots[layer.node.inputs[0]]], choice.fills[layer.node.name]
            weight, scale = layer.integers(fill, params.range.hi)
            chosen[layer.node.name] = _layer_params(layer, weight, scale, params)
            costs.append(_cost(layer, weight, params, fill))
        return choice, chosen, costs


def _relative_cost(costs: Iterable[LayerChoice]) -> float:
    """As a multiple of 16-bit sums without a spill; a network without layers costs nothing."""
    each = list(costs)
    without = sum(one.without_spills for one in each)
    return sum(one.cost for one in each) / without if without else 0.0


def _layer_params(layer: Layer, weight: np.ndarray, scale: Reals, x: TensorParams) -> LayerParams:
    """Weights, their scale, and the bias at the scale of the sums."""
    bias = layer.op.bias.astype(np.float64)
    scale = scale.astype(np.float32).astype(np.float64)
    least = np.abs(bias) / (x.affine.scale * LARGEST_BIAS)
    if (small := scale < least).any():
        scale = np.where(small, least, scale).astype(np.float32).astype(np.float64)
        weight = weight.copy()
        weight[small] = nearest(layer.rows[small], scale[small])
    steps = np.rint(bias / (x.affine.scale * scale)).astype(np.int32)
    return LayerParams(unpacked(weight, layer.op), scale.astype(np.float32), steps)  # type: ignore[arg-type]


def _cost(layer: Layer, weight: np.ndarray, x: TensorParams, fill: float) -> LayerChoice:
    ends = np.full(weight.shape[1], x.range.lo, np.int64), np.full(weight.shape[1], x.range.hi, np.int64)
    rows = rows_of(depthwise=layer.depthwise)
    found = predict_layer_cost(weight, ends, rows, groups=layer.tile_groups, positions=layer.positions)
    return LayerChoice(
        layer.node.name, x.range.hi, fill, found.cost, found.without_spills, found.row, found.average_run
    )


def _graph(
    model: torch.nn.Module | FloatGraph, batches: Iterable[Any], example: torch.Tensor | None, name: str | None
) -> tuple[FloatGraph, Iterable[Any]]:
    """The graph, and the batches with nothing taken from them."""
    if isinstance(model, FloatGraph):
        return model, batches
    from oaq.capture.from_torch import normalize

    if example is not None:
        return normalize(model, example, name), batches
    if isinstance(batches, np.ndarray | torch.Tensor):
        raise CalibrationError(
            "calibration batches are a sequence of arrays (n, ...), not one array: give [x] instead of x"
        )
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        raise CalibrationError("there are no calibration batches: give at least one batch of typical inputs")
    taken = _example(first)
    if any(not len(part) for part in taken):
        raise CalibrationError("calibration batch 0 holds no sample")
    return normalize(model, taken, name), chain([first], stream)


def _example(batch: Any) -> tuple[torch.Tensor, ...]:  # noqa: ANN401
    """One sample of every input; what is no number at all is refused when the batch itself is checked."""
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    parts = list(parts) if isinstance(parts, list | tuple) else [parts]
    for part in parts:
        if not isinstance(part, np.ndarray | torch.Tensor) or part.ndim == 0:
            raise CalibrationError(
                f"calibration batch 0: an array or a tensor (n, ...) is expected, not {type(part).__name__}"
            )
    return tuple(torch.as_tensor(part)[:1].to(torch.float32) for part in parts)


def _root(graph: FloatGraph, group: frozenset[str]) -> str:
    """The tensor of a group that is written first: where its values are rounded."""
    return next(name for name in graph.shapes if name in group)


def _metadata(options: Options, samples: int) -> dict[str, str]:
    budget = "none" if options.budget is None else f"{options.budget:g}"
    return {"quantized": f"budget {budget}, {options.calibration}, {samples} samples"}
