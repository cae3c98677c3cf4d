"""Sizes that are valid one by one and large when multiplied: every row, every operator, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import MemoryLimit
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from tests.native.machine import ROWS, SUMMING, check, compare, layer
from tests.strategies import Builder, random_input, ratios

WIDE, FAR = 131072, 32767
GEOMETRIES: dict[str, dict[str, object]] = {
    "stride times width is 2^32": {"size": (1, WIDE), "kernel": (1, 1), "stride": (4096, 4096)},
    "largest stride": {"size": (1, WIDE), "kernel": (1, 1), "stride": (FAR, FAR)},
    "largest stride, tall": {"size": (WIDE, 1), "kernel": (1, 1), "stride": (FAR, FAR)},
    "largest stride under a window": {"size": (3, WIDE), "kernel": (3, 3), "stride": (FAR, FAR)},
    "largest dilation along the width": {"size": (1, 70000), "kernel": (1, 3), "dilation": (FAR, FAR)},
    "largest dilation along the height": {
        "size": (70000, 1),
        "kernel": (3, 1),
        "dilation": (FAR, FAR),
        "stride": (777, 1),
    },
    "largest padding beside one column": {
        "size": (1, 1),
        "kernel": (1, 1),
        "padding": (0, 0, FAR, FAR),
        "stride": (1, 4096),
    },
    "largest padding above one line": {
        "size": (1, 1),
        "kernel": (1, 1),
        "padding": (FAR, FAR, 0, 0),
        "stride": (4096, 1),
    },
    "padding that only dilation reaches": {
        "size": (2, 3),
        "kernel": (2, 2),
        "padding": (300, 300, 300, 300),
        "dilation": (599, 599),
    },
    "gaps that no window reads": {
        "size": (40, 5),
        "kernel": (3, 2),
        "padding": (5, 9, 1, 1),
        "dilation": (13, 1),
        "stride": (7, 1),
    },
    "a window taller than the image": {"size": (2, 3), "kernel": (7, 1), "padding": (3, 3, 0, 0)},
    "a taller window with gaps": {
        "size": (2, 3),
        "kernel": (5, 1),
        "padding": (36, 36, 0, 0),
        "dilation": (9, 1),
        "stride": (20, 1),
    },
    "gaps between lines that windows below read": {"size": (90, 2000), "kernel": (3, 1), "dilation": (4, 1)},
    "gaps so wide that a cache holds few windows": {
        "size": (400, 1000),
        "kernel": (2, 1),
        "padding": (60, 0, 0, 0),
        "dilation": (200, 1),
    },
}


def inputs(program: IntProgram, batch: int = 1) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    specs = [program.tensors[name] for name in program.inputs]
    return tuple(random_input(rng, (batch, *spec.shape), spec.range, "ends") for spec in specs)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("row", SUMMING)
def test_a_row_that_sums(row: str, geometry: dict[str, object]) -> None:
    for channels, threads in ((8, 1), (3, 2)):
        program = layer(ROWS[row], channels, channels, **geometry)
        check(program, inputs(program), row, threads)


@pytest.mark.parametrize("row", SUMMING)
def test_many_channels(row: str) -> None:
    outputs, k = (1 << 16, 1) if ROWS[row].family == "depthwise" else (65, 1 << 15)
    program = layer(ROWS[row], outputs, k, kernel=(1, 2), size=(2, 3))
    check(program, inputs(program), row, 2)


def single(shapes: list[tuple[int, ...]], op: ops.Op) -> IntProgram:
    builder = Builder("extreme")
    builder.add(op, [builder.input(shape, Affine(0.05, 7)) for shape in shapes], Affine(0.05, 7))
    return builder.finish()


PAIR = Requantize(ratios([0.02, 0.03], 0.05))
ALONE = Requantize(ratios([0.0025], 0.05))
OTHERS: dict[str, IntProgram] = {
    "add": single([(1, WIDE, 3)] * 2, ops.Add(PAIR)),
    "mul": single([(1, WIDE, 3), (3,)], ops.Mul(ALONE)),
    "concat": single([(1, WIDE, 3), (1, WIDE, 1)], ops.Concat(PAIR)),
    "lookup": single([(1, WIDE, 3)], ops.Lookup(np.arange(256)[::-1].astype(np.uint8))),
    "channel_lookup": single(
        [(1, WIDE, 3)], ops.ChannelLookup((np.arange(768) * 37 % 256).reshape(3, 256).astype(np.uint8))
    ),
    "max_pool, largest stride": single([(1, WIDE, 8)], ops.MaxPool((1, 2), (FAR, FAR))),
    "max_pool, stride times width is 2^32": single([(1, WIDE, 8)], ops.MaxPool((1, 2), (4096, 4096))),
    "max_pool, largest dilation": single([(70000, 2, 3)], ops.MaxPool((3, 1), (999, 1), dilation=(FAR, FAR))),
    "max_pool, largest window": single([(1, 70000, 3)], ops.MaxPool((1, FAR), (1, FAR))),
    "avg_pool, largest stride": single([(1, WIDE, 8)], ops.AvgPool((1, 1), (FAR, FAR), ALONE)),
    "avg_pool, large window": single(
        [(1, 70000, 3)], ops.AvgPool((1, 4096), (1, FAR), Requantize(np.full(4096, 2.0**-12, np.float32)))
    ),
    "global_avg_pool": single([(1, WIDE, 3)], ops.GlobalAvgPool(Requantize(np.float32([1 / WIDE])))),
    "resize, nearest": single([(1, WIDE, 1)], ops.Resize(2, 70001, "nearest")),
    "resize, bilinear": single([(1, 3, 1)], ops.Resize(1, WIDE, "bilinear")),
    "depth_to_space": single([(1, 70, 4096 * 3)], ops.DepthToSpace(64, "CRD")),
    "transpose, long rows": single([(1, WIDE, 3)], ops.Transpose.joining((WIDE, 3), (1, 0), (3, 1, WIDE))),
    "transpose, short rows": single([(3, 1, WIDE)], ops.Transpose.joining((3, WIDE), (1, 0), (1, WIDE, 3))),
    "pad": single([(1, 1, 3)], ops.Pad((3, FAR, 1, 2))),
    "pad, wide": single([(1, 1, 3)], ops.Pad((1, 1, FAR, FAR))),
    "slice": single([(1, WIDE, 3)], ops.Slice((0, WIDE - 2, 1), (1, WIDE, 3))),
}


@pytest.mark.parametrize("program", OTHERS.values(), ids=OTHERS)
def test_every_other_operator(program: IntProgram) -> None:
    for threads in (1, 3):
        compare(plan(program), inputs(program), threads)


@pytest.mark.parametrize("row", SUMMING)
def test_what_would_take_gigabytes_is_refused_before_they_are_taken(row: str) -> None:
    """A file of kilobytes, whose window holds every line of the image at once, each between two wide paddings."""
    far = {"kernel": (6000, 1), "padding": (0, 0, FAR, FAR), "dilation": (1, 1), "stride": (FAR, FAR)}
    program = layer(ROWS[row], 8, 8, size=(6000, 1), **far)
    if ROWS[row].family == "gemm":  # gathers each position by itself, so it takes little; only the reference pads
        Session(plan(program, rows=[row]), threads=2)
    else:
        with pytest.raises(MemoryLimit, match=r"GiB of scratch, which 'n0' takes.*more than the limit"):
            Session(plan(program, rows=[row]), threads=2)


@pytest.mark.parametrize("row", SUMMING)
def test_the_limit_is_the_callers_to_set(row: str) -> None:
    program = layer(ROWS[row], 33, 9, size=(9, 9), kernel=(3, 3))
    with pytest.raises(MemoryLimit, match=r"a session of 2 threads .*memory_limit=.*OAQ_MEMORY_LIMIT"):
        Session(plan(program, rows=[row]), threads=2, memory_limit=5000)
    Session(plan(program, rows=[row]), threads=2, memory_limit=1 << 20)
