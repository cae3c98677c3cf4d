"""Every row on weights of which whole steps are zero: what is left out changes no integer.

The checker derives each plan again; extremes come first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq import operators as ops
from oaq.kernels.plan import Plan, plan
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from oaq.runtime.certify import check_plan
from tests.native.machine import ROWS, SUMMING, compare, layer
from tests.strategies import INPUT_KINDS, random_input

GEMM = [name for name in SUMMING if ROWS[name].family == "gemm"]


def with_holes(program: IntProgram, seed: int, kept: float, block: int) -> IntProgram:
    """The same program with ``block`` neighbours of K at a time zero in 32 outputs; all are in the last 32."""
    (node,) = program.nodes
    op = node.products
    rng = np.random.default_rng(seed)
    outputs, terms = len(op.weight), op.weight[0].size
    mask = rng.random((-(-outputs // 32), -(-terms // block))) < kept
    mask[-1] = False
    mask = mask.repeat(32, axis=0)[:outputs].repeat(block, axis=1)[:, :terms].reshape(op.weight.shape)
    weight = np.where(mask, op.weight, 0).astype(op.weight.dtype)
    return replace(program, nodes=(replace(node, op=replace(op, weight=weight)),))


def check(program: IntProgram, row: str) -> Plan:
    planned = plan(program, rows=[row])
    verdict = check_plan(planned)
    assert verdict.safe, verdict.findings
    spec = program.tensors[program.inputs[0]]
    rng = np.random.default_rng(3)
    compare(planned, (np.concatenate([random_input(rng, (1, *spec.shape), spec.range, kind) for kind in INPUT_KINDS]),))
    return planned


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize(("kind", "kept"), [("minus-128", 0.15), ("extreme", 0.6)])
def test_a_pointwise_layer(row: str, kind: str, kept: float) -> None:
    program = with_holes(layer(ROWS[row], 70, 148, kind, zero_point=9), 1, kept, 16)
    planned = check(program, row)
    assert planned.nodes[0].schedule is not None
    assert planned.nodes[0].schedule.skipped > 0


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize(
    ("k", "geometry"),
    [
        (16, {"kernel": (3, 3), "padding": (1, 1, 1, 1)}),  # windows read in lines
        (16, {"kernel": (3, 3), "padding": (2, 2, 2, 2), "dilation": (2, 2)}),  # gathered
        (3, {"kernel": (5, 5), "padding": (2, 2, 2, 2), "stride": (2, 2)}),
        (32, {"kernel": (3, 1), "padding": (1, 1, 0, 0), "groups": 2}),
    ],
    ids=["lines", "dilated", "thin", "groups"],
)
def test_windows(row: str, k: int, geometry: dict[str, object]) -> None:
    program = with_holes(layer(ROWS[row], 64, k, "extreme", size=(7, 9), zero_point=200, **dict(geometry)), 2, 0.3, 16)
    check(program, row)


@pytest.mark.parametrize("row", GEMM)
def test_a_layer_of_zeros_gives_its_biases(row: str) -> None:
    program = with_holes(layer(ROWS[row], 32, 64, "uniform"), 3, 0.0, 16)
    planned = check(program, row)
    schedule = planned.nodes[0].schedule
    assert schedule is not None
    assert len(schedule.packed) == schedule.tiles


@pytest.mark.parametrize("row", [name for name in SUMMING if ROWS[name].family == "depthwise"])
def test_depthwise_rows_execute_every_step(row: str) -> None:
    program = layer(ROWS[row], 40, 1, "uniform")
    (node,) = program.nodes
    weight = node.products.weight.copy()
    weight[:, 1] = 0
    planned = check(replace(program, nodes=(replace(node, op=replace(node.products, weight=weight)),)), row)
    assert planned.nodes[0].schedule is not None
    assert planned.nodes[0].schedule.skipped == 0


@pytest.mark.parametrize("row", GEMM)
def test_a_longer_run_than_the_registers_hold_is_not_made_by_leaving_steps_out(row: str) -> None:
    """Weights at their end between holes of one step: lanes fill up as if there were no hole."""
    program = layer(ROWS[row], 16, 256, "uniform", zero_point=0)
    (node,) = program.nodes
    weight = np.full(node.products.weight.shape, ROWS[row].w_range.hi, np.int8)
    weight.reshape(len(weight), -1, 32)[:, :, :16] = 0
    op = replace(node.products, weight=weight)
    assert isinstance(op, ops.Conv2d)
    planned = check(replace(program, nodes=(replace(node, op=op),)), row)
    schedule = planned.nodes[0].schedule
    assert schedule is not None
    assert IntRange(-(2**31), 2**31 - 1).contains(schedule.bound)
