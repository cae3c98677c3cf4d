"""Programs of one layer whose sums count modulo 2**b, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.modular import Modular
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec, output_shape
from oaq.program.int_program import IntProgram, Node

KINDS: Final = ("matrix", "tokens", "convolution", "grouped", "depthwise", "line", "volume", "wide")


def modular_op(rng: np.random.Generator, kind: str, bits: int, *, shared: bool = False) -> tuple[ops.Products, Any]:
    """A layer of one of ``KINDS`` with any weights, any biases and random tables; and the shape it reads."""
    shape, geometry, x = {
        "matrix": ((21, 150), None, (150,)),
        "tokens": ((5, 40), None, (3, 40)),
        "convolution": ((19, 3, 3, 13), {"padding": (1, 1, 1, 1)}, (6, 5, 13)),
        "grouped": ((8, 3, 2, 3), {"padding": (1, 0, 0, 1), "groups": 4, "stride": (2, 1)}, (7, 6, 12)),
        "depthwise": ((37, 3, 3, 1), {"padding": (1, 1, 1, 1), "groups": 37}, (5, 6, 37)),
        "line": ((9, 5, 7), {"padding": (2, 2)}, (11, 7)),
        "volume": ((5, 2, 3, 3, 4), {}, (3, 5, 4, 4)),
        "wide": ((6, 33), None, (33,)),
    }[kind]
    weight = rng.integers(-255, 256, shape).astype(np.int16)
    if kind == "wide":
        weight[0, 0] = -255
    else:
        weight = weight.clip(-128, 127).astype(np.int8)
    outputs = shape[0]
    table = rng.integers(0, 256, (1 if shared else outputs, 1 << bits)).astype(np.uint8)
    bias = rng.choice(np.array([-(2**31), 2**31 - 1, 0, 7], np.int64), outputs).astype(np.int32)
    if geometry is None:
        return ops.Linear(weight, bias, Modular(table)), x
    return ops.Conv2d(weight, bias, Modular(table), **geometry), x


def modular_program(op: ops.Products, x: tuple[int, ...], zero: int = 0, reach: IntRange = U8) -> IntProgram:
    """The layer alone, reading integers of ``reach`` about ``zero``."""
    specs = {
        "x": TensorSpec("x", x, Affine(1.0, zero), reach),
        "y": TensorSpec("y", output_shape(op, [x]), Affine(1.0, 0), U8),
    }
    return IntProgram("wraps", ("x",), ("y",), specs, (Node("layer", op, ("x",), "y"),))


def wrapping(program: IntProgram, bits: int) -> IntProgram:
    """A program of one layer whose sums count modulo 2**``bits`` instead, with biases at the ends of s32."""
    (node,) = program.nodes
    op, y = node.products, program.tensors[node.output].range
    rng = np.random.default_rng(bits)
    table = rng.integers(y.lo, y.hi + 1, (op.outputs, 1 << bits)).astype(np.uint8)
    bias = rng.choice(np.array([-(2**31), 2**31 - 1, 3], np.int64), op.outputs).astype(np.int32)
    return replace(program, nodes=(replace(node, op=replace(op, bias=bias, requantize=Modular(table))),))


def ternary_program(bits: int = 6, terms: int = 300, operand: int = 3) -> IntProgram:
    """A layer as method "wrap" trains it: weights of -1, 0, 1 and operands of few bits."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-1, 2, (24, terms)).astype(np.int8)
    table = rng.integers(0, 4, (24, 1 << bits)).astype(np.uint8)
    op = ops.Linear(weight, np.zeros(24, np.int32), Modular(table))
    return modular_program(op, (terms,), 0, IntRange(0, operand))
