"""Volumes on every native row that takes them, against the reference: planes above one another in a tensor's height."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from tests.native.machine import ROWS, SUMMING, check, layer
from tests.strategies import Builder, random_input, ratios

FAR = 32767
MATRICES = [row for row in SUMMING if ROWS[row].family == "gemm"]
GEOMETRIES: dict[str, dict[str, object]] = {
    "every pixel": {"kernel": (1, 1, 1), "size": (3, 2, 4)},
    "every second plane": {"kernel": (1, 1, 1), "stride": (2, 1, 1), "size": (5, 2, 4)},
    "all axes": {
        "kernel": (2, 3, 2),
        "stride": (2, 1, 2),
        "padding": (1, 2, 0, 1, 1, 1),
        "dilation": (2, 1, 1),
        "size": (5, 4, 6),
    },
    "one plane": {"kernel": (1, 2, 3), "padding": (0, 0, 1, 0, 1, 1), "size": (1, 4, 30)},
    "planes of padding alone": {"kernel": (1, 2, 2), "padding": (2, 3, 0, 0, 0, 1), "size": (2, 3, 4)},
    "the only window sees padding alone": {
        "kernel": (1, 1, 3),
        "stride": (3, 1, 1),
        "padding": (1, 1, 0, 0, 0, 1),
        "size": (1, 1, 2),
    },
    "the only plane lies before the padding": {
        "kernel": (1, 1, 1),
        "stride": (2, 1, 1),
        "padding": (0, 1, 0, 0, 0, 0),
        "size": (1, 3, 2),
    },
    "gaps around the only plane": {
        "kernel": (2, 1, 1),
        "padding": (1, 1, 0, 0, 0, 0),
        "dilation": (2, 1, 1),
        "size": (1, 2, 3),
    },
    "a window of all planes": {"kernel": (6, 1, 1), "size": (6, 2, 3)},
    "largest stride": {"kernel": (1, 1, 1), "stride": (FAR, FAR, FAR), "size": (40000, 2, 1)},
    "largest dilation": {"kernel": (2, 1, 1), "dilation": (FAR, FAR, FAR), "size": (FAR + 3, 1, 2)},
    "largest padding": {
        "kernel": (1, 1, 1),
        "stride": (FAR, 1, 1),
        "padding": (FAR, FAR, 0, 0, 0, 0),
        "size": (3, 1, 2),
    },
}


def inputs(program: IntProgram, batch: int = 2) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    specs = [program.tensors[name] for name in program.inputs]
    return tuple(random_input(rng, (batch, *spec.shape), spec.range, "ends") for spec in specs)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("row", MATRICES)
def test_a_convolution_of_a_volume_is_the_law(row: str, geometry: dict[str, object]) -> None:
    for channels, groups, threads in ((8, 1, 1), (3, 1, 2), (2, 3, 3), (1, 4, 1)):
        program = layer(ROWS[row], 6 if groups == 3 else 8, channels, groups=groups, **geometry)
        check(program, inputs(program), row, threads)


def pooled(family: str, geometry: dict[str, tuple[int, ...]]) -> IntProgram:
    builder, affine = Builder(family), Affine(0.05, 7)
    size, kernel = geometry["size"], geometry["kernel"]
    stride, dilation = (geometry.get(key, (1, 1, 1)) for key in ("stride", "dilation"))
    padding = tuple(min(side, kernel[index // 2] - 1) for index, side in enumerate(geometry.get("padding", (0,) * 6)))
    x = builder.input((*size, 5), affine)
    if family == "max_pool":
        builder.add(ops.MaxPool(kernel, stride, padding, dilation), [x], affine)
    else:
        numbers = Requantize(ratios([1 / count for count in range(1, int(np.prod(kernel)) + 1)], 1.0))
        builder.add(ops.AvgPool(kernel, stride, numbers, padding), [x], affine)
    return builder.finish()


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("row", [name for name, row in ROWS.items() if row.family in ("max_pool", "avg_pool")])
def test_a_pool_of_a_volume_is_the_law(row: str, geometry: dict[str, tuple[int, ...]]) -> None:
    program = pooled(ROWS[row].family, geometry)
    for threads in (1, 3):
        check(program, inputs(program), row, threads)


MOVES: dict[str, tuple[tuple[int, ...], ops.Op]] = {
    "zeros on all sides": ((2, 3, 4, 3), ops.Pad((1, 2, 2, 0, 0, 1))),
    "planes of zeros alone": ((1, 2, 2, 1), ops.Pad((3, 2, 0, 0, 0, 0))),
    "many planes of zeros": ((1, 1, 1, 1), ops.Pad((FAR, FAR, 0, 0, 0, 0))),
    "a part of every axis": ((4, 3, 5, 4), ops.Slice((1, 1, 2, 1), (3, 3, 4, 3))),
    "the last plane": ((4, 3, 5, 4), ops.Slice((3, 0, 0, 0), (4, 3, 5, 4))),
    "planes in another order": ((4, 3, 5, 4), ops.Gather(1, np.array([3, 3, 0], np.int32))),
    "lines of planes": ((4, 3, 5, 4), ops.Gather(2, np.array([2, 0], np.int32))),
    "columns of planes": ((4, 3, 5, 4), ops.Gather(3, np.array([4, 1, 1, 0, 2, 3], np.int32))),
    "channels of planes": ((4, 3, 5, 4), ops.Gather(0, np.array([3, 1, 1], np.int32))),
}


@pytest.mark.parametrize(("shape", "op"), MOVES.values(), ids=MOVES)
def test_what_moves_in_a_volume_is_moved_as_the_law_says(shape: tuple[int, ...], op: ops.Op) -> None:
    builder, affine = Builder("moved"), Affine(0.05, 7)
    builder.add(op, [builder.input(shape, affine)], affine)
    program = builder.finish()
    for threads in (1, 3):
        check(program, inputs(program), f"{type(op).__name__.lower()}_u8_scalar", threads)
