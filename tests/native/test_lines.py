"""Windows that are read in lines of the input: pieces of a run, line after line, block after block."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.kernels.work import lies_in_lines, site_of
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from tests.native.machine import ROWS, WIDE, check, compare, held, layer
from tests.strategies import INPUT_KINDS, random_input

GEMM = [name for name in WIDE if ROWS[name].family == "gemm"]
WIDTH = 24
"""Groups of positions of every row divide it; those that look sums up read no lines."""
SAME = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
GEOMETRY = [
    SAME,
    {"kernel": (3, 3), "padding": (0, 1, 0, 1), "stride": (2, 2), "size": (7, 2 * WIDTH)},
    {"kernel": (5, 3), "padding": (3, 0, 2, 0), "dilation": (2, 1), "size": (8, WIDTH)},
    {"kernel": (2, 2), "size": (6, WIDTH + 1)},
    {"kernel": (1, 1), "stride": (3, 2), "size": (7, 2 * WIDTH)},
    {"kernel": (1, 2), "padding": (0, 0, 1, 0), "zero_point": 255, "size": (4, WIDTH)},
    {**SAME, "zero_point": 0, "size": (6, WIDTH)},
    {**SAME, "zero_point": 128, "size": (6, WIDTH)},
]


def windows(row: str, outputs: int = 37, channels: int = 0, **geometry: object) -> IntProgram:
    """A layer of 8 channels, or as many as make whole steps of the row."""
    register = ROWS[row].accumulator
    assert register is not None
    return layer(ROWS[row], outputs, channels or max(8, register.step), **{"size": (5, WIDTH), **geometry})


def lines_of(row: str) -> str:
    """Where a row finds windows that lie in lines: rows of short runs gather them, for a run is one piece there."""
    register = ROWS[row].accumulator
    return "gathered" if register is not None and (register.max_run or 1) > 1 else "in lines"


def inputs(program: IntProgram, kind: str) -> tuple[np.ndarray, ...]:
    spec = program.tensors[program.inputs[0]]
    return (random_input(np.random.default_rng(7), (2, *spec.shape), spec.range, kind),)


def found(row: str, program: IntProgram) -> str:
    """Where native code finds the operands; the cost model has to know."""
    (chosen,) = Session(plan(program, rows=[row])).choices()
    (node,) = program.nodes
    assert isinstance(node.op, ops.Conv2d)
    site = site_of(node.op, program.tensors[node.inputs[0]].shape, program.tensors[node.output].shape)
    assert lies_in_lines(ROWS[row], site) == (chosen.operands == "in lines")
    return chosen.operands


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
@pytest.mark.parametrize("geometry", GEOMETRY)
def test_windows(row: str, semantics: str, geometry: dict[str, object]) -> None:
    program = windows(row, semantics=semantics, kind="extreme", **geometry)
    assert found(row, program) == lines_of(row)
    for kind in ("hi", "random"):
        check(program, inputs(program, kind), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize("steps", [1, 2, 5, 6, 7, 100])
def test_runs_end_anywhere_in_a_line(row: str, kind: str, steps: int) -> None:
    """A line of the window is six steps here: runs end before it, with it, behind it, and go on over several."""
    program = windows(row, kind="small", **SAME)
    compare(held(plan(program, rows=[row]), steps), inputs(program, kind))


@pytest.mark.parametrize("row", GEMM)
def test_steps_that_are_split(row: str) -> None:
    program = windows(row, kind="wide", **SAME)
    for kind in INPUT_KINDS:
        check(program, inputs(program, kind), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_more_lines_than_a_block_has(row: str, threads: int) -> None:
    program = windows(row, 20, 128, size=(29, WIDTH), **SAME)
    assert found(row, program) == lines_of(row)
    check(program, inputs(program, "random"), row, threads)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("threads", [2, 5])
def test_more_threads_than_lines(row: str, threads: int) -> None:
    program = windows(row, 70, size=(1, WIDTH), **SAME)
    check(program, inputs(program, "random"), row, threads)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("width", range(1, 30))
def test_every_width(row: str, width: int) -> None:
    program = windows(row, 9, 4, size=(3, width), **SAME)
    found(row, program)
    check(program, inputs(program, "random"), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize(
    ("channels", "geometry", "operands"),
    [
        (8, {"size": (3, 5)}, "direct"),
        (5, SAME, "gathered"),
        (8, {**SAME, "groups": 2}, "gathered"),
        (8, {"kernel": (3, 3), "dilation": (1, 2), "size": (5, WIDTH + 4)}, "gathered"),
    ],
)
def test_what_does_not_lie_in_lines(row: str, channels: int, geometry: dict[str, object], operands: str) -> None:
    program = windows(row, 36, channels, **geometry)
    assert found(row, program) == operands
    check(program, inputs(program, "random"), row)


BORDERS = [
    {**SAME, "size": (10, WIDTH)},
    {**SAME, "size": (13, 6)},
    {**SAME, "size": (5, 12)},
    {"kernel": (5, 5), "padding": (2, 2, 2, 2), "size": (9, 12)},
    {"kernel": (3, 3), "padding": (1, 1, 1, 1), "stride": (2, 2), "size": (13, 24)},
    {"kernel": (3, 3), "padding": (4, 4, 0, 0), "size": (3, WIDTH + 2)},
    {"kernel": (3, 2), "padding": (2, 0, 1, 1), "dilation": (2, 1), "size": (8, 11)},
]
"""Windows that see padding at some of their places, and some that see nothing else."""


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("geometry", BORDERS)
@pytest.mark.parametrize("kind", ["extreme", "small", "wide"])
def test_products_with_zeros_at_the_border_may_be_left_out(row: str, geometry: dict[str, object], kind: str) -> None:
    """Padding that holds what a row multiplies as zero, and padding that does not."""
    for zero_point in (ROWS[row].shift, 7):
        program = windows(row, kind=kind, zero_point=zero_point, **geometry)
        for inputs_of in ("hi", "lo", "random"):
            check(program, inputs(program, inputs_of), row)


@pytest.mark.parametrize("row", GEMM)
@pytest.mark.parametrize("steps", [1, 3, 6, 13, 100])
@pytest.mark.parametrize("threads", [1, 3])
def test_runs_end_anywhere_beside_steps_that_see_padding(row: str, steps: int, threads: int) -> None:
    program = windows(row, kind="small", zero_point=ROWS[row].shift, **SAME | {"size": (10, WIDTH)})
    compare(held(plan(program, rows=[row]), steps), inputs(program, "random"), threads)


@pytest.mark.parametrize("row", GEMM)
def test_a_tile_whose_weights_are_seen_by_no_window_at_the_border(row: str) -> None:
    """Steps of zeros are left out of schedules; what is left of a tile may lie wholly in padding."""
    program = windows(row, 2 * ROWS[row].tile_n, zero_point=ROWS[row].shift, **SAME | {"size": (10, WIDTH)})
    (node,) = program.nodes
    assert isinstance(node.op, ops.Conv2d)
    weight = node.op.weight.copy()
    weight[:, 1:], weight[:, :, 1:] = 0, 0
    only = dataclasses.replace(
        program, nodes=(dataclasses.replace(node, op=dataclasses.replace(node.op, weight=weight)),)
    )
    check(only, inputs(only, "random"), row)
