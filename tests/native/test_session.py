"""What the native session refuses to run on, and that it touches nothing but what it is given."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oaq.kernels import _native
from oaq.numerics.requantize import Requantize
from oaq.runtime.plan_bytes import Contents, PlacedTensor, Step, encode
from tests.native.machine import WIDE
from tests.native.test_plan_bytes import GOOD

LIMIT = 1 << 24


def test_arrays_of_another_size_are_refused() -> None:
    session = _native.Session(encode(GOOD), 1, LIMIT)
    good = np.zeros((2, 4, 4, 8), np.uint8)
    for inputs, outputs in (
        ([], [good]),
        ([good, good], [good]),
        ([good[:1]], [good]),
        ([good[..., :7].copy()], [good]),
        ([good], [np.zeros((2, 4, 4, 7), np.uint8)]),
    ):
        with pytest.raises(ValueError, match=r"needed|batch"):
            session.run(inputs, outputs)
    with pytest.raises(TypeError):
        session.run([good.astype(np.int8)], [good])
    read_only = good.copy()
    read_only.flags.writeable = False
    with pytest.raises(TypeError):
        session.run([good], [read_only])


class Fenced:
    """A u8 array that ends, or starts, where a page begins that nobody may touch."""

    def __init__(self, size: int, *, at_end: bool) -> None:
        page = mmap.PAGESIZE
        inside = -(-size // page) * page
        self.pages = mmap.mmap(-1, inside + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        for fence in (start, start + page + inside):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
        offset = page + (inside - size if at_end else 0)
        self.array = np.frombuffer(self.pages, np.uint8, size, offset)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 17, 64])
def test_callers_arrays_are_touched_only_inside(channels: int, at_end: bool) -> None:
    """A read or write beyond them would end the process."""
    tensors = (PlacedTensor("x", (3, 5, channels), 0, 1.0, 0, 0, 255),)
    table = np.arange(255, -1, -1, dtype=np.uint8)
    behind = -(-15 * channels // 64) * 64 + 64
    step = Step("lookup", "lookup_u8_scalar", "n", (0,), 1, (table,))
    tensors = (*tensors, replace(tensors[0], name="y", offset=behind))
    session = _native.Session(encode(Contents(2 * behind, tensors, (0,), (1,), (step,))), 1, LIMIT)
    shape = (2, 3, 5, channels)
    size = int(np.prod(shape))
    x, y = Fenced(size, at_end=at_end).array.reshape(shape), Fenced(size, at_end=at_end).array.reshape(shape)
    x[:] = np.random.default_rng(0).integers(0, 256, shape)
    session.run([x], [y])
    np.testing.assert_array_equal(y, 255 - x)


@pytest.mark.parametrize(
    "row", [one for one in _native.kernel_table() if one["family"] == "gemm" and one["name"] in WIDE]
)
def test_the_smallest_weight_is_summed_exactly(row: dict[str, Any]) -> None:
    """-128 in every place of every step, one step to a segment, in an arena that ends with the last tensor."""
    tile, positions, steps = row["tile_n"], 13, 3
    rng = np.random.default_rng(1)
    packed = np.zeros((2 * steps, tile, 4), np.int8)
    packed[0::2, :, 0::2], packed[1::2, :, 1::2] = -128, -128  # split, so that no pair saturates
    segments = np.array([[0, step // 2, 1] for step in range(2 * steps)], np.int32)
    x_shape, y_shape = (1, positions, 4 * steps), (1, positions, tile)
    behind = -(-positions * 4 * steps // 64) * 64 + 64
    tensors = (
        PlacedTensor("x", x_shape, 0, 1.0, 0, 0, 255),
        PlacedTensor("y", y_shape, behind, 1.0, 0, 0, 255),
    )
    requant = Requantize(np.full(tile, 2.0**-9, np.float32))
    point = ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    sums = (1, 0, packed, segments, np.zeros(tile, np.int32), requant, 200, (0, 255))
    step = Step("gemm", row["name"], "n", (0,), 1, (*point, *sums))
    arena = behind + positions * tile + 64
    session = _native.Session(encode(Contents(arena, tensors, (0,), (1,), (step,))), 2, LIMIT)
    x = rng.choice(np.array([0, 255], np.uint8), (1, *x_shape))
    y = np.zeros((1, *y_shape), np.uint8)
    session.run([x], [y])
    sums_of_x = (x.astype(np.int64) - row["shift"]).sum(-1, keepdims=True) * -128
    expected = np.clip(np.rint(sums_of_x * 2.0**-9) + 200, 0, 255)
    np.testing.assert_array_equal(y, np.broadcast_to(expected, y.shape))


SHORT_OF_MEMORY = """
import resource
import numpy as np
import oaq
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq import operators as ops
from tests.strategies import Builder

builder = Builder("large")
x = builder.input((1, 30000, 30000), Affine(0.05, 3))
builder.add(ops.Pad((0, 0, 1, 1)), [x], Affine(0.05, 3))
planned = plan(builder.finish())
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    oaq.Session(planned, threads=1)
except oaq.MemoryLimit as error:
    print(error)
"""


SANITIZED = ("LD_PRELOAD", "OAQ_NATIVE_MODULE", "OAQ_NATIVE_WANTED")
"""Environment variables of a run on a sanitized build."""


def test_memory_that_is_not_there_is_an_error_of_ours_with_the_right_advice() -> None:
    # A sanitizer ends the process where address space runs out, so the script always runs the installed module.
    environment = {name: value for name, value in os.environ.items() if name not in SANITIZED}
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert "there is not enough memory for a session of 1 threads" in done.stdout, done.stderr[-2000:]
    assert "ulimit -v" in done.stdout
