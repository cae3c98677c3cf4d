"""A small TFLite file for each operator: (1, 9, 9, 3), by a convolution to (1, 9, 9, 4), to the operator's result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from benchmarks.tflite_files import RELU6, Model, Weights, filled, window

LIKE: Final = (1, 9, 9, 4)
HALF: Final = (1, 5, 5, 4)
WINDOW: Final[Mapping[str, int]] = {"padding": 0, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 3}
STEP, ZERO = 0.05, 110
"""Scale of what the operators read."""


@dataclass(frozen=True)
class Case:
    """One operator.

    Attributes:
        code: in the schema.
        shape, step, zero: of its result; the zero point is counted from the type's least integer.
        options: the name of its option table, "" for none.
        values: in that table.
        constant: a further input, int32.
        second: it reads two results of convolutions.
    """

    code: str
    shape: tuple[int, ...] = LIKE
    step: float = STEP
    zero: int = ZERO
    options: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    constant: tuple[Any, ...] = ()
    second: bool = False


RESIZED: Final = {"shape": (1, 18, 18, 4), "constant": (18, 18)}
CASES: Final[Mapping[str, Case]] = {
    "average-pool": Case("AVERAGE_POOL_2D", HALF, options="Pool2DOptions", values=WINDOW),
    "max-pool-relu6": Case(
        "MAX_POOL_2D", HALF, options="Pool2DOptions", values={**WINDOW, "fusedActivationFunction": RELU6}
    ),
    "mean": Case("MEAN", (1, 4), 0.03, 100, "ReducerOptions", constant=(1, 2)),
    "add": Case("ADD", LIKE, 0.07, 90, "AddOptions", second=True),
    "sub": Case("SUB", LIKE, 0.06, 90, "SubOptions", second=True),
    "mul": Case("MUL", LIKE, 0.04, 90, "MulOptions", second=True),
    "concatenation": Case(
        "CONCATENATION", (1, 9, 9, 8), options="ConcatenationOptions", values={"axis": 3}, second=True
    ),
    "logistic": Case("LOGISTIC", LIKE, 1 / 256, 0),
    "tanh": Case("TANH", LIKE, 1 / 128, 128),
    "hard-swish": Case("HARD_SWISH", LIKE, 0.04, 20, "HardSwishOptions"),
    "relu": Case("RELU", LIKE, STEP, 0),
    "leaky-relu": Case("LEAKY_RELU", LIKE, STEP, 60, "LeakyReluOptions", {"alpha": 0.1}),
    "quantize": Case("QUANTIZE", LIKE, 0.07, 60, "QuantizeOptions"),
    "pad": Case("PAD", (1, 12, 10, 4), options="PadOptions", constant=((0, 0), (1, 2), (0, 1), (0, 0))),
    "reshape": Case("RESHAPE", (1, 3, 27, 4), options="ReshapeOptions", constant=(1, 3, 27, 4)),
    "resize-bilinear": Case(
        "RESIZE_BILINEAR", options="ResizeBilinearOptions", values={"halfPixelCenters": True}, **RESIZED
    ),
    "resize-nearest": Case("RESIZE_NEAREST_NEIGHBOR", options="ResizeNearestNeighborOptions", **RESIZED),
}


def operator(name: str, kind: type[np.integer] = np.int8) -> bytes:
    """The file of one case."""
    case, net = CASES[name], Model()
    weights, at = Weights(net, kind, np.random.default_rng(0)), int(np.iinfo(kind).min)
    x = net.tensor("x", (1, 9, 9, 3), kind, scale=[0.02], zero=[at + 100])
    operands = [_convolution(net, weights, convolution, x, at) for convolution in ("c", "d")[: 1 + case.second]]
    if case.constant:
        numbers = np.array(case.constant, np.int32)
        operands.append(net.tensor("numbers", numbers.shape, np.int32, data=numbers))
    y = net.tensor("y", case.shape, kind, scale=[case.step], zero=[at + case.zero])
    table = None
    if case.options:
        values = filled(getattr(schema, f"{case.options}T"), **case.values)
        table = (getattr(schema.BuiltinOptions, case.options), values)
    net.operator(getattr(schema.BuiltinOperator, case.code), operands, [y], table)
    return net.content([x], [y])


def _convolution(net: Model, weights: Weights, name: str, x: int, at: int) -> int:
    """1x1, to ``LIKE``."""
    y = net.tensor(name, LIKE, weights.kind, scale=[STEP], zero=[at + ZERO])
    options = (schema.BuiltinOptions.Conv2DOptions, window(schema.Conv2DOptionsT, 1))
    net.operator(schema.BuiltinOperator.CONV_2D, [x, *weights.draw(f"{name}.w", (4, 1, 1, 3), 0, 0.02)], [y], options)
    return y
