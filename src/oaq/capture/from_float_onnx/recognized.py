"""Functions that exporters write out as arithmetic, recognized by their values: x * clip(x + 3, 0, 6) / 6 is hardswish.

How many ways there are of writing a function does not matter then. Nodes that compute a function of one tensor with the
help of single constants are evaluated on a grid and compared with the functions that a ``FloatGraph`` has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import erf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_onnx.attribute_table import attribute_flaw
from oaq.capture.from_onnx.attributes import real
from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode
from oaq.capture.functions import FUNCTIONS
from oaq.capture.graph import FloatFunction, FunctionName

Values = NDArray[np.float64]
Operands = list[Values]
Done = dict[str, tuple[OnnxNode, Values | None]]

GRID: Final = np.concatenate([np.linspace(-12.0, 12.0, 1537), np.linspace(-60.0, 60.0, 241)])
"""Where functions are compared; each has bent and flattened inside it."""
NEAR: Final = 1e-5
"""Largest difference, relative beyond 1: constants in files are float32."""
LONGEST: Final = 12
"""Nodes that one function may be written with."""
ENDS: Final = ("Mul", "Div", "Reciprocal", "Clip", "Log")
"""What the writing of a function may end with."""
BINARY: Final = ("Add", "Sub", "Mul", "Div", "Pow")
BENT: Final = ("Exp", "Relu", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Erf", "Softplus", "Abs", "Log")
MOST_BENDS: Final = 2
"""Most of ``BENT`` in one function."""
NAMES: Final[tuple[FunctionName, ...]] = (
    *("sigmoid", "silu", "hardswish", "hardsigmoid", "tanh", "gelu"),
    *("gelu_tanh", "mish", "softplus", "softsign", "logsigmoid"),
)
KNOWN: Final = (*map(FloatFunction, NAMES), FloatFunction("swish", (1.702,)))
"""Functions that are recognized."""


@dataclass(frozen=True, eq=False)
class Recognized:
    """A function found in a file.

    Attributes:
        op: the function.
        root: the file's tensor that it is of.
        inner: names of the nodes that nothing else needs, the last one not among them.
    """

    op: FloatFunction
    root: str
    inner: frozenset[str]


def recognize(file: OnnxGraph) -> dict[str, Recognized]:
    """Every function that takes more than one node to write, by name of the node that writes its result."""
    recognized: dict[str, Recognized] = {}
    claimed: set[str] = set()
    for node in reversed(file.nodes):
        if node.domain or node.op not in ENDS or node.name in claimed:
            continue
        for root in _before(file, node):
            match = _matched(file, node, root)
            if match is not None:
                recognized[node.name] = match
                claimed |= match.inner
                break
    return recognized


def _before(file: OnnxGraph, last: OnnxNode) -> list[str]:
    """Tensors that ``last`` may be a function of, the nearest first; none if nothing before it is bent."""
    names: dict[str, None] = {}
    pending, visited, bent = [last], 0, False
    while pending and visited < LONGEST:
        node, visited = pending.pop(0), visited + 1
        bent = bent or node.op in BENT
        for name in node.inputs:
            if name and file.constant(name) is None and name not in names:
                names[name] = None
                maker = file.producers.get(name)
                if maker is not None and not maker.domain and maker.op in FORMULAS:
                    pending.append(maker)
    return list(names) if bent else []


def _matched(file: OnnxGraph, last: OnnxNode, root: str) -> Recognized | None:
    evaluated: Done = {}
    with np.errstate(all="ignore"):
        values = _evaluated(file, last, root, evaluated)
    if values is None or len(evaluated) < 2 or not _is_closed(file, frozenset(evaluated), last):
        return None
    op = next((op for op in KNOWN if _is_near(values, FUNCTIONS[op.name](GRID, *op.parameters))), None)
    return None if op is None else Recognized(op, root, frozenset(evaluated) - {last.name})


def _evaluated(file: OnnxGraph, node: OnnxNode, root: str, evaluated: Done) -> Values | None:
    """What ``node`` gives where ``root`` is ``GRID``; None if that needs more. ``evaluated`` has all by node name."""
    if node.name not in evaluated:
        formula = None if node.domain or attribute_flaw(node, file.opsets) else FORMULAS.get(node.op)
        evaluated[node.name] = (node, None)
        fits = len(node.outputs) == 1 and len(node.inputs) >= (2 if node.op in BINARY else 1)
        bends = sum(bent.op in BENT for bent, _ in evaluated.values())
        if formula is None or not fits or len(evaluated) > LONGEST or bends > MOST_BENDS:
            return None
        operands: Operands = []
        for name in node.inputs:
            value = GRID if name == root else _operand(file, name, root, evaluated)
            if value is None or (node.op == "Clip" and operands and value.ndim):
                return None
            operands.append(value)
        evaluated[node.name] = (node, formula(node, operands))
    return evaluated[node.name][1]


def _operand(file: OnnxGraph, name: str, root: str, evaluated: Done) -> Values | None:
    """A single constant, NaN where the input is left out, or what another node gives."""
    constant, maker = file.constant(name), file.producers.get(name)
    if not name:
        return np.asarray(np.nan)
    if constant is not None:
        single = constant.size == 1 and constant.dtype.kind in "fiu"
        return np.asarray(float(constant.reshape(()))) if single else None
    return None if maker is None else _evaluated(file, maker, root, evaluated)


def _is_closed(file: OnnxGraph, inside: frozenset[str], last: OnnxNode) -> bool:
    """Whether only the last node's result is read outside."""
    pending, visited = [last], {last.name}
    while pending:
        for name in pending.pop().inputs:
            maker = file.producers.get(name)
            if maker is None or maker.name not in inside or maker.name in visited:
                continue
            if name in file.outputs or any(user.name not in inside for user in file.consumers[name]):
                return False
            visited.add(maker.name)
            pending.append(maker)
    return True


def _is_near(values: Values, expected: Values) -> bool:
    return values.shape == expected.shape and bool(
        np.all(np.abs(values - expected) <= NEAR * np.maximum(np.abs(expected), 1.0))
    )


def _clip(node: OnnxNode, operands: Operands) -> Values:
    ends = [operands[index] if index < len(operands) else np.asarray(np.nan) for index in (1, 2)]
    lo, hi = real(node, "min", float(ends[0])), real(node, "max", float(ends[1]))
    return np.clip(operands[0], -np.inf if np.isnan(lo) else lo, np.inf if np.isnan(hi) else hi)


def _hard_sigmoid(node: OnnxNode, operands: Operands) -> Values:
    return np.clip(real(node, "alpha", 0.2) * operands[0] + real(node, "beta", 0.5), 0.0, 1.0)


FORMULAS: Final[Mapping[str, Callable[[OnnxNode, Operands], Values]]] = {
    "Add": lambda node, x: x[0] + x[1],
    "Sub": lambda node, x: x[0] - x[1],
    "Mul": lambda node, x: x[0] * x[1],
    "Div": lambda node, x: x[0] / x[1],
    "Neg": lambda node, x: -x[0],
    "Exp": lambda node, x: np.exp(x[0]),
    "Reciprocal": lambda node, x: 1.0 / x[0],
    "Relu": lambda node, x: np.maximum(x[0], 0.0),
    "Clip": _clip,
    "Sigmoid": lambda node, x: np.exp(-np.logaddexp(0.0, -x[0])),  # not 0 anywhere: a logarithm may follow
    "HardSigmoid": _hard_sigmoid,
    "Tanh": lambda node, x: np.tanh(x[0]),
    "Softplus": lambda node, x: np.logaddexp(x[0], 0.0),
    "Abs": lambda node, x: np.abs(x[0]),
    "Log": lambda node, x: np.log(x[0]),
    "Pow": lambda node, x: np.power(x[0], x[1]),
    "Erf": lambda node, x: np.vectorize(erf, otypes=[np.float64])(x[0]),
}
"""What a written-out function is made of, in float64."""
