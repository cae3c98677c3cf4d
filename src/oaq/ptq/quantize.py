"""``quantize``: after training, from a network and data to an ``IntProgram`` whose sums will be cheap to run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from oaq.capture.graph import FloatGraph, LayerParams
from oaq.capture.lower import check_order, lower, same_affine_groups
from oaq.choose.codebook_facts import with_precision
from oaq.choose.round import packed
from oaq.errors import CalibrationError
from oaq.kernels.targets import DEFAULT_TARGET
from oaq.numerics.codebook import least_steps
from oaq.numerics.requantize import Semantics
from oaq.program.codebook_facts import CodebookFacts, integer_facts
from oaq.program.codes import code_metadata
from oaq.program.int_program import IntProgram
from oaq.ptq.bias import correct_biases
from oaq.ptq.clip import ClipMethod
from oaq.ptq.curves import Layer
from oaq.ptq.daq import Daq
from oaq.ptq.decide import Decider, LayerChoice
from oaq.ptq.equalize import Equalized, equalize
from oaq.ptq.execute import layers
from oaq.ptq.levelled import levelled
from oaq.ptq.networks import Network, graph_of
from oaq.ptq.observe import Reals, observe
from oaq.ptq.options import Options
from oaq.ptq.pieces import Piecewise, WeightForm
from oaq.ptq.progress import CHOOSE, CORRECT, MEASURE, OBSERVE, Progress, Steps
from oaq.ptq.rounding import Rounding
from oaq.ptq.samples import Reservoir, chunks
from oaq.ptq.uniform import Uniform

DEFAULTS: Final = Options()


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
        least_error: ``predicted_error`` without a budget: what 8 bits everywhere would have.
        codebooks: layers whose weights are piecewise: tail steps, and how precise weights are.
    """

    graph: FloatGraph
    layers: tuple[LayerChoice, ...]
    samples: int
    predicted_error: float
    cost: float
    factors: Mapping[str, Reals]
    least_error: float
    codebooks: tuple[CodebookFacts, ...] = ()

    @property
    def budget_db(self) -> float:
        """What the budget costs, in predicted dB; not a number where bits were chosen by hand."""
        if not (self.predicted_error > 0 and self.least_error > 0):
            return 0.0 if self.predicted_error == self.least_error else math.nan
        return 10 * math.log10(self.predicted_error / self.least_error)


def quantize(
    model: Network,
    calibration_batches: Iterable[Any],
    *,
    example: torch.Tensor | None = None,
    name: str | None = None,
    progress: Progress | None = None,
    budget: float | None = DEFAULTS.budget,
    calibration: ClipMethod = DEFAULTS.calibration,
    equalize: bool = DEFAULTS.equalize,
    across_functions: bool = DEFAULTS.across_functions,
    correct_bias: bool = DEFAULTS.correct_bias,
    rounding: Rounding = DEFAULTS.rounding,
    informed_terms: int | None = DEFAULTS.informed_terms,
    uniform: Uniform | None = DEFAULTS.uniform,
    daq: Daq | None = DEFAULTS.daq,
    requantize: Semantics = DEFAULTS.requantize,
    target: str = DEFAULTS.target,
    weights: WeightForm | Piecewise = DEFAULTS.weights,
) -> IntProgram:
    """Quantize a trained network.

    Args:
        model: a module ``capture.from_torch`` takes, the name of an ONNX file that computes in float, or a graph.
        calibration_batches: float arrays or tensors (n, C, H, W), typical inputs prepared as for the float network;
            read once, so a generator will do. Several hundred samples are plenty, 64 usually enough.
        example: an input to capture a module with; None takes the first sample.
        name: of the program; None takes the module's class or the file's own name for it.
        progress: called with a ``ptq.progress.Step`` for what has begun: a word for the stage, and beside it the layer
            and the part that is done.
        budget: predicted cost allowed, as a multiple of the same network summed in 16 bits without any spill; 1.0: no
            spill at all; None: every layer W8A8 whatever it costs.
        calibration: "mse", "minmax", "percentile" or "entropy": how a tensor's real range is chosen.
        equalize: bring the channels of a tensor to like size first, where the network allows it.
        across_functions: the same on both sides of functions of one value, which then have a table for each channel;
            with ``equalize=False`` only before functions, which changes no column of a weight.
        correct_bias: take back what rounding weights does to the mean of each channel.
        rounding: of weights: "axe" (error feedback inside the budgets of the accumulators), "adaround" (learned, takes
            longer) or "nearest", which looks at no data.
        informed_terms: layers that sum more products than this round to nearest, whatever ``rounding`` says; None: none
            do.
        uniform: the same bits in every layer and an accumulator that all keep, instead of a budget.
        daq: few levels for each channel that chosen layers read, placed by its distribution, instead of a budget.
        requantize: the semantics of the program, "float32_half_even" or "fixed_point".
        target: the instruction set whose rows the budget is counted on, a name of
            ``kernels.targets.TARGETS``: "avx2", "neon", ...
        weights: "uniform", or "piecewise": integers of a codebook of 4 bits (or those of ``uniform``) with fine steps
            about zero and coarse ones in the tails, which take 5 bits each in a file; a ``Piecewise`` says more.

    Returns:
        A program whose integers are decided; ``analyze`` proves its sums, ``plan`` picks kernels.

    Raises:
        CalibrationError: no data, data that does not fit, or options out of range.
        UnsupportedOp: an operator of the network is not known.
        FormatError: the file is missing or damaged.
        ProgramError: weights are NaN or infinite.
    """
    options = Options(
        budget=budget,
        calibration=calibration,
        equalize=equalize,
        across_functions=across_functions,
        correct_bias=correct_bias,
        rounding=rounding,
        informed_terms=informed_terms,
        uniform=uniform,
        daq=daq,
        requantize=requantize,
        target=target,
        weights=weights,
    )
    return quantize_with_report(model, calibration_batches, options, example=example, name=name, progress=progress)[0]


def quantize_with_report(
    model: Network,
    calibration_batches: Iterable[Any],
    options: Options | None = None,
    *,
    example: torch.Tensor | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> tuple[IntProgram, QuantizeReport]:
    """``quantize``, and what it did; arguments and errors as there."""
    options, steps = options or Options(), Steps(progress)
    if options.note:
        steps.note(options.note)
    graph, batches = graph_of(model, calibration_batches, example, name)
    check_order(graph)
    _check_pieces(options, graph)
    steps.begin(OBSERVE)
    reservoir = Reservoir()
    counted = batches if isinstance(batches, np.ndarray | torch.Tensor) else steps.count(batches, "batch")
    stats = observe(graph, chunks(graph, counted), reservoir.add)
    balanced = Equalized(graph, stats, {})
    if options.equalize or options.across_functions:
        balanced = equalize(graph, stats, across_functions=options.across_functions, columns=options.equalize)
    retained = list(reservoir.chunks())
    steps.begin(MEASURE)
    levels = None if options.daq is None else levelled(balanced.graph, retained, options.daq)
    if levels is not None:
        balanced = Equalized(levels.graph, observe(levels.graph, retained), balanced.factors)
    graph = balanced.graph
    roots = {name: _root(graph, group) for group in same_affine_groups(graph) for name in group}
    decider = Decider(balanced, retained, roots, options, steps, levels=levels)
    steps.begin(CHOOSE)
    decided = decider.decide()
    tensors, layer_params = {tensor: decided.params[root] for tensor, root in roots.items()}, decided.layers
    if options.correct_bias:
        steps.begin(CORRECT)
        layer_params = correct_biases(balanced.graph, decider.means, tensors, layer_params)
    bits = {layer.node.name: layer.code_bits for layer in decider.layers if layer.code_bits is not None}
    metadata = _metadata(options, reservoir.count) | code_metadata(bits)
    program = lower(balanced.graph, tensors, layer_params, options.requantize, metadata)
    report = QuantizeReport(
        balanced.graph,
        decided.costs,
        reservoir.count,
        decided.error,
        decided.cost,
        balanced.factors,
        decider.least_error,
        tuple(_codebook_facts(layer, layer_params[layer.node.name]) for layer in decider.layers if layer.code_bits),
    )
    return program, report


def _check_pieces(options: Options, graph: FloatGraph) -> None:
    if options.pieces is None:
        return
    if options.pieces.form == "exact":
        raise CalibrationError(
            "weights in the published form have three sums for each output, which no program holds: "
            "oaq.ptq.quantize_exact makes what the reference runs; form='integer' has one sum"
        )
    options.pieces.check_layers(node.name for node, _ in layers(graph))


def _root(graph: FloatGraph, group: frozenset[str]) -> str:
    """The tensor of a group that is written first: where its values are rounded."""
    return next(name for name in graph.shapes if name in group)


def _codebook_facts(layer: Layer, params: LayerParams) -> CodebookFacts:
    bits, weight = layer.code_bits or 0, packed(params.weight, layer.op)
    facts = integer_facts(layer.node.name, weight, bits, least_steps(weight, bits))
    return with_precision(facts, layer.rows, weight, params.weight_scale.astype(np.float64))


def _metadata(options: Options, samples: int) -> dict[str, str]:
    if options.by_hand is None:
        description = f"budget {'none' if options.allowed is None else f'{options.allowed:g}'}"
    else:
        description = str(options.by_hand)
    if options.pieces is not None:
        description += f", weights {options.pieces}"
    suited = "" if options.target == DEFAULT_TARGET else f", for {options.target}"
    rounding = options.rounding
    if options.informed_terms is not None and rounding != "nearest":
        rounding += f" up to {options.informed_terms} products"
    return {"quantized": f"{description}, {rounding}, {options.calibration}, {samples} samples{suited}"}
