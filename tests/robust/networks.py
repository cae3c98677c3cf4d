"""Small programs for the tests of ``oaq.robust``."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node


def perceptron(
    seed: int = 0,
    sizes: tuple[int, ...] = (6, 8, 5),
    semantics: Semantics = "fixed_point",
    reach: IntRange | None = None,
) -> IntProgram:
    """Linear layers of random weights whose results use most of their range."""
    rng = np.random.default_rng(seed)
    ends = reach or IntRange(0, 255)
    tensors = {"x": TensorSpec("x", (sizes[0],), Affine(0.01, 0))}
    nodes, before = [], "x"
    for at, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = rng.integers(-40, 41, (outputs, inputs)).astype(np.int8)
        bias = rng.integers(-2000, 2000, outputs).astype(np.int32)
        ratio = np.full(outputs, 1 / (20 * inputs**0.5), np.float32)
        zero = ends.lo if at < len(sizes) - 2 else (ends.lo + ends.hi) // 2
        name = f"y{at}"
        tensors[name] = TensorSpec(name, (outputs,), Affine(0.01, zero), ends)
        nodes.append(
            Node(f"fc{at}", ops.Linear(weight, bias, Requantize.from_scales(ratio, semantics)), (before,), name)
        )
        before = name
    return IntProgram("perceptron", ("x",), (before,), tensors, tuple(nodes), semantics)


def centre(program: IntProgram, seed: int = 0) -> NDArray[np.uint8]:
    """A random input."""
    spec = program.tensors[program.inputs[0]]
    return np.random.default_rng(seed).integers(20, 236, spec.shape).astype(np.uint8)


def behind_the_first(program: IntProgram, op: ops.Op, values: IntRange | None = None) -> IntProgram:
    """``op`` between the first layer, whose shape it keeps, and what reads it."""
    first, *rest = program.nodes
    spec = program.tensors[first.output]
    nodes = [
        replace(node, inputs=tuple("read" if name == first.output else name for name in node.inputs)) for node in rest
    ]
    tensors = {**program.tensors, "read": replace(spec, name="read", range=values or spec.range)}
    return replace(program, tensors=tensors, nodes=(first, Node("behind", op, (first.output,), "read"), *nodes))


def with_tables(program: IntProgram, seed: int) -> IntProgram:
    """A random table for each channel behind the first layer."""
    channels = program.tensors[program.nodes[0].output].channels
    tables = np.random.default_rng(seed).integers(0, 256, (channels, 256)).astype(np.uint8)
    return behind_the_first(program, ops.ChannelLookup(tables), IntRange(0, 255))


def with_picked(program: IntProgram, seed: int) -> IntProgram:
    """Random channels of the first layer in place of it, some twice, some not at all."""
    channels = program.tensors[program.nodes[0].output].channels
    index = np.random.default_rng(seed).integers(0, channels, channels).astype(np.int32)
    return behind_the_first(program, ops.Gather(0, index))
