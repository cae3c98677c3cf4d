"""``quantize_exact``: piecewise weights in the published form, for the reference to run.

Activations are those that ``quantize`` chooses; weights are rounded to nearest, output by output, with two scales and
an offset. Bias correction is the paper's in its part that multipliers can take, and its expectation in the bias.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatProducts
from oaq.capture.order import linear_order
from oaq.choose.published import Breakpoint, PublishedRows, published_rows
from oaq.choose.round import LARGEST_BIAS, packed_rows, unpacked
from oaq.errors import CalibrationError
from oaq.numerics.formats import S32
from oaq.program.int_program import IntProgram
from oaq.program.three_sums import ExactProgram, ThreeSums
from oaq.ptq.bias import mean_inputs
from oaq.ptq.execute import Tensors, apply_op, layers, tensors_of
from oaq.ptq.networks import Network
from oaq.ptq.options import Options
from oaq.ptq.pieces import Piecewise
from oaq.ptq.quantize import quantize_with_report
from oaq.ptq.samples import chunks

Reals = NDArray[np.float64]
LEAST_RATIO, MOST_RATIO = 0.5, 2.0
"""Between these the deviation of an output's weights is corrected."""


def quantize_exact(
    model: Network, calibration_batches: Iterable[Any], options: Options, rule: Breakpoint = "one-shot"
) -> ExactProgram:
    """A program all of whose layers are three sums.

    Args:
        model: as of ``quantize``.
        calibration_batches: as of ``quantize``; they are kept in memory.
        options: weights of ``Piecewise(form="exact")``; every option but those that round weights counts.
        rule: how breakpoints are chosen.

    Raises:
        CalibrationError: the options ask for another form, or for requantization in fixed point.
        OaqError: see ``quantize``.
    """
    pieces = options.pieces
    if pieces is None or pieces.form != "exact" or options.requantize != "float32_half_even":
        raise CalibrationError(
            "quantize_exact is of weights=Piecewise(form='exact') and requantize='float32_half_even'; quantize serves "
            "every other option"
        )
    batches = list(calibration_batches)
    program, report = quantize_with_report(model, batches, replace(options, weights="uniform", rounding="nearest"))
    means = mean_inputs(report.graph, chunks(report.graph, batches)) if options.correct_bias else {}
    three = {
        node.name: _layer(report.graph, program, node.name, (pieces, rule), means) for node, _ in layers(report.graph)
    }
    return ExactProgram(program, three)


def _layer(
    graph: FloatGraph, program: IntProgram, name: str, form: tuple[Piecewise, Breakpoint], means: Tensors
) -> ThreeSums:
    node = next(node for node in graph.nodes if node.name == name)
    op, (pieces, rule) = node.op, form
    if not isinstance(op, FloatProducts):
        raise TypeError(f"{name}: sums no products")
    rows = packed_rows(op).astype(np.float64)
    published = published_rows(rows, pieces.code_bits(graph, node) or 8, rule)
    scales = published.scales * (_ratio(rows, published) if means else 1.0)
    s_x, s_y = (program.tensors[tensor].affine.scale for tensor in (node.inputs[0], node.output))
    bias = op.bias.astype(np.float64)
    if (mean := means.get(node.inputs[0])) is not None:
        bias = bias + _mean_error(op, node, mean, rows - replace(published, scales=scales).reals())
    steps = bias / (s_x * scales[0])
    if np.abs(steps).max(initial=0.0) > LARGEST_BIAS:
        raise CalibrationError(f"{name}: a bias is {np.abs(steps).max():.3g} steps of its weights, which leaves s32")
    columns = None if isinstance(op, FloatConv2d) else linear_order(graph, node)

    def stored(part: NDArray[np.int8]) -> NDArray[np.int8]:
        if columns is not None:
            return np.ascontiguousarray(part[:, columns])
        return np.ascontiguousarray(np.moveaxis(unpacked(part, op), 1, -1))  # type: ignore[arg-type]

    return ThreeSums(
        stored(published.centre),
        stored(published.tail),
        stored(published.sign),
        np.clip(np.rint(steps), S32.lo, S32.hi).astype(np.int32),
        (scales * s_x / s_y).astype(np.float32),
    )


def _ratio(rows: Reals, published: PublishedRows) -> Reals:
    """(N,) deviation of the float weights over that of the rounded ones."""
    rounded, exact = published.reals().std(axis=1), rows.std(axis=1)
    ratio = np.where(rounded > 0, exact / np.where(rounded > 0, rounded, 1.0), 1.0)
    return np.where(exact > 0, np.clip(ratio, LEAST_RATIO, MOST_RATIO), 1.0)


def _mean_error(op: FloatProducts, node: Any, mean: torch.Tensor, error: Reals) -> Reals:  # noqa: ANN401 (a node)
    """(N,) mean of what an error of (N, K) weights takes from the sums."""
    _, bias = tensors_of(op)
    weight = torch.from_numpy(unpacked(error.astype(np.float32), op))  # type: ignore[arg-type]
    with torch.inference_mode():
        sums = apply_op(node, [mean], (weight, torch.zeros_like(bias)))
    return sums.transpose(0, 1).flatten(1).mean(dim=1, dtype=torch.float64).numpy()
