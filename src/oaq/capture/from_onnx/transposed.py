"""The rule for ConvTranspose between quantizers: a convolution of phases, interleaved and cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx.attributes import integer
from oaq.capture.from_onnx.draft import spatial
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.layers import Bias, float_bias, pending_layer, weights_of
from oaq.capture.from_onnx.sums import Sums
from oaq.capture.from_onnx.values import Pending, Stays, View, arranged
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.from_onnx.weights import QuantizedConstant
from oaq.capture.from_onnx.windows import transposed_window
from oaq.capture.layout import Layout
from oaq.capture.transposed import Phased, Transposed, phased
from oaq.errors import ProgramError
from oaq.numerics.requantize import Requantize

IN_FLOAT: Final = (
    "{}: ONNX Runtime computes ConvTranspose in float, whatever is quantized around it; what is said of its sums is "
    "said of runtimes that have an integer kernel for it"
)


def conv_transpose(walk: Walk, node: OnnxNode) -> None:
    """DequantizeLinear x 2 (or 3), ConvTranspose."""
    weight = weights_of(walk, node.input_name(1))
    bias = float_bias(walk, node.input_name(2))
    walk.values[node.outputs[0]] = transposed_convolution(walk, node, walk.plain(node.input_name(0)), weight, bias)


def transposed_convolution(walk: Walk, node: OnnxNode, x: View, weight: QuantizedConstant, bias: Bias) -> Pending:
    """A Conv2d of phases that waits for its output's scale; no layer that a file's weights can be changed for.

    Raises:
        Stays: its weights do not fit, have scales of another axis than the outputs', or there are too many axes.
    """
    values, groups = weight.values, integer(node, "group", 1)
    if values.ndim != len(x.shape) + 1 or len(values) != x.shape[0] or groups < 1 or x.shape[0] % groups:
        raise Stays(f"its weights {values.shape} in {groups} groups do not fit a sample of {x.shape}")
    if weight.scale.size > 1 and weight.axis != 1:
        raise Stays("its weights have a scale per input channel, which no integer sum has")
    windows = transposed_window(node, x.shape[1:], values.shape[2:])
    outputs = values.shape[1] * groups
    layer = Transposed(
        values.astype(np.float64),
        np.zeros(outputs),
        windows.stride,
        windows.dilation,
        windows.begin,
        windows.count,
        groups,
    )
    try:
        parts = phased(layer, x.shape[1:])
    except ProgramError as error:
        raise Stays(str(error)) from error
    order = spatial(len(x.shape))
    layout = Layout.in_order((outputs, *windows.count), order)
    by_output = _of_each_output(weight, values, groups)
    ready = arranged(walk.draft, x, order)
    numbers = (by_output, by_output.values, tuple(range(values.ndim)), None)
    pending = pending_layer(walk, node, ready, numbers, (layout, 1, _make(parts), bias, 1.0))
    sums = pending.sums
    assert isinstance(sums, Sums)
    walk.notes.append(IN_FLOAT.format(node.name))
    if sums.is_bias_rounded():
        walk.rounded[node.name] = None
    return replace(pending, sums=None, after=parts.moves)


def _of_each_output(weight: QuantizedConstant, values: NDArray[np.int64], groups: int) -> QuantizedConstant:
    """The weights with their outputs on axis 0, (N, C / groups, ...), and a scale for each where there are several.

    The outputs of every group share the scales, which are as many as a group has outputs.
    """
    inside = len(values) // groups
    by_group = values.reshape(groups, inside, *values.shape[1:])
    rows = np.moveaxis(by_group, 2, 1).reshape(-1, inside, *values.shape[2:])
    scale = np.tile(weight.scale, groups) if weight.scale.size > 1 else weight.scale
    zero = np.tile(weight.zero_point, groups) if weight.zero_point.size > 1 else weight.zero_point
    return replace(weight, values=rows, scale=scale, zero_point=zero, axis=0, order=tuple(range(values.ndim)))


def _make(parts: Phased) -> Any:  # noqa: ANN401 (sums.Make)
    """Conv2d of all phases from what an output has: weights are those of the phases."""
    rank = len(parts.windows)
    rows = parts.weight.transpose(0, *range(2, rank + 2), 1).astype(np.int16)

    def make(_w: NDArray[np.int16], b: NDArray[np.int32], requantize: Requantize) -> ops.Conv2d:
        multipliers = Requantize(requantize.multiplier[parts.outputs])
        unit = (1,) * rank
        return ops.Conv2d(rows, b[parts.outputs], multipliers, unit, parts.padding, unit, parts.groups)

    return make
