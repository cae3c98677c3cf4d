"""Weights that int8 barely holds, and weights it does not: every row and plan of a network that is full of them."""

from __future__ import annotations

import numpy as np
import pytest

import oaq
from oaq import operators as ops
from oaq.kernels.table import native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from tests.strategies import Builder, conv2d, linear


def network(kind: str) -> IntProgram:
    """A layer of each family that sums, with padding, groups and tails, full of one kind of weights."""
    rng, s = np.random.default_rng(1), 0.05
    builder = Builder(kind)
    x = builder.input((7, 6, 5), Affine(s, 200))
    x = builder.add(conv2d(rng, (34, 3, 3, 5), kind=kind, padding=(1, 1, 1, 1)), [x], Affine(s, 9), name="stem")
    deep = conv2d(rng, (34, 3, 3, 1), kind=kind, groups=34, stride=(2, 1))
    x = builder.add(deep, [x], Affine(s, 0), IntRange(0, 180), name="deep")
    x = builder.add(conv2d(rng, (18, 1, 1, 17), kind=kind, groups=2), [x], Affine(s, 3), name="point")
    x = builder.add(ops.Reshape((int(np.prod(builder.tensors[x].shape)),)), [x], name="flat")
    size = builder.tensors[x].shape[0]
    builder.add(linear(rng, (11, size), kind=kind), [x], Affine(s, 128), name="fc")
    return builder.finish()


@pytest.mark.parametrize("kind", ["minus-128", "wide", "wide-extreme", "wide-sparse"])
def test_every_row_and_plan_computes_the_same_integers_at_every_bound(kind: str) -> None:
    program = network(kind)
    weights = np.concatenate([node.op.weight.ravel() for node in program.summing_nodes()])  # type: ignore[union-attr]
    assert weights.min() == -128 if kind == "minus-128" else weights.min() < -128 or weights.max() > 127
    report = oaq.verify(program, onnx=False)
    report.raise_if_unsafe()
    assert report.samples["witnesses"] > 100
    ran = {one.name for one in report.executors if one.ran}
    unneeded = {one.name for one in report.executors if one.unneeded}
    for row in native_rows():
        if row.available and row.accumulator is not None:
            assert f"row {row.name}" in (unneeded if row.looks_up else ran)
