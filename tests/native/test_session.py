"""What the native session refuses, and that it touches nothing but what it is given."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.kernels import _native

X, Y = (0, (4, 4, 8)), (128, (4, 4, 8))
WEIGHTS = np.zeros((2, 8, 4), np.int8)
SEGMENTS = np.array([[0, 0, 2]], np.int32)
BIAS = np.zeros(8, np.int32)
SCALE = np.full(8, 0.5, np.float32)
POINT: dict[str, Any] = {
    "row": "gemm_u8s8_scalar",
    "x": X,
    "y": Y,
    "kernel": (1, 1),
    "stride": (1, 1),
    "padding": (0, 0, 0, 0),
    "dilation": (1, 1),
    "groups": 1,
    "packed": WEIGHTS,
    "segments": SEGMENTS,
    "bias": BIAS,
    "requant": SCALE,
    "x_zero_point": 0,
    "y_zero_point": 0,
    "clamp": (0, 255),
}


def session() -> Any:
    return _native.Session(256, 1)


def test_the_call_that_the_others_spoil_is_taken() -> None:
    session().conv2d(**POINT)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"row": "gemm_u8s8_nothing"}, "no row"),
        ({"row": "depthwise_u8s8_scalar"}, "family"),
        ({"x": (200, (4, 4, 8))}, "leaves the arena"),
        ({"y": (128, (4, 4, 9))}, "leaves the arena"),
        ({"y": (2**40, (4, 4, 8))}, "leaves the arena"),
        ({"x": (0, (0, 4, 8))}, "empty"),
        ({"x": (0, (2**30, 2**30, 2**30))}, "leaves the arena"),
        ({"kernel": (3, 3)}, "window"),
        ({"kernel": (0, 1)}, "size"),
        ({"stride": (1, 0)}, "size"),
        ({"dilation": (2**30, 1)}, "size"),
        ({"padding": (-1, 0, 0, 0)}, "padding"),
        ({"groups": 3}, "groups"),
        ({"groups": 0}, "groups"),
        ({"packed": WEIGHTS[:1]}, "bytes of weights"),
        ({"packed": np.zeros((2, 16, 4), np.int8)}, "packed weights"),
        ({"segments": np.array([[0, 0, 1]], np.int32)}, "bytes of weights"),
        ({"segments": np.array([[0, 1, 2]], np.int32)}, "leaves the 2 steps"),
        ({"segments": np.array([[0, -1, 2]], np.int32)}, "leaves the 2 steps"),
        ({"segments": np.array([[0, 0, 0]], np.int32)}, "leaves the 2 steps"),
        ({"segments": np.array([[1, 0, 2]], np.int32)}, "order of tiles"),
        ({"segments": np.zeros((0, 3), np.int32)}, "no segment"),
        ({"bias": BIAS[:7]}, "7 biases"),
        ({"requant": SCALE[:7]}, "7 multipliers"),
        ({"requant": np.full(8, np.nan, np.float32)}, "finite"),
        ({"requant": np.full(8, -1, np.float32)}, "positive"),
        ({"requant": (np.ones(8, np.int32), np.full(8, 63, np.int32))}, "shift 63"),
        ({"requant": (np.zeros(8, np.int32), np.full(8, 1, np.int32))}, "not positive"),
        ({"requant": (np.ones(8, np.int32), np.ones(7, np.int32))}, "differ in number"),
        ({"x_zero_point": 256}, "zero point 256"),
        ({"y_zero_point": -1}, "zero point -1"),
        ({"clamp": (5, 4)}, "clamp"),
        ({"clamp": (0, 256)}, "clamp"),
    ],
)
def test_a_convolution_that_does_not_fit_together_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        session().conv2d(**POINT | change)


@pytest.mark.parametrize(
    "change",
    [
        {"packed": WEIGHTS.astype(np.int16)},
        {"bias": BIAS.astype(np.int64)},
        {"requant": SCALE.astype(np.float64)},
        {"packed": WEIGHTS[:, :, ::-1]},
        {"row": 3},
    ],
)
def test_other_types_and_layouts_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        session().conv2d(**POINT | change)


def test_threads_and_memory_have_limits() -> None:
    for threads in (0, 257, -1):
        with pytest.raises(ValueError, match="threads"):
            _native.Session(64, threads)
    with pytest.raises(ValueError, match="too large"):
        _native.Session(2**41, 1)


def test_nothing_runs_before_finish_and_nothing_is_added_after() -> None:
    one = session()
    with pytest.raises(ValueError, match="finish"):
        one.run([], [])
    one.finish([X], [Y])
    with pytest.raises(ValueError, match="finished"):
        one.conv2d(**POINT)
    with pytest.raises(ValueError, match="finished"):
        one.finish([X], [Y])


def test_arrays_of_another_size_are_refused() -> None:
    one = session()
    one.conv2d(**POINT)
    one.finish([X], [Y])
    good = np.zeros((2, 4, 4, 8), np.uint8)
    for inputs, outputs in (
        ([], [good]),
        ([good, good], [good]),
        ([good[:1]], [good]),
        ([good[..., :7].copy()], [good]),
        ([good], [np.zeros((2, 4, 4, 7), np.uint8)]),
    ):
        with pytest.raises(ValueError, match=r"needed|batch"):
            one.run(inputs, outputs)
    with pytest.raises(TypeError):
        one.run([good.astype(np.int8)], [good])
    read_only = good.copy()
    read_only.flags.writeable = False
    with pytest.raises(TypeError):
        one.run([good], [read_only])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_arguments_crash_it(data: st.DataObject) -> None:
    """Whatever numbers come: a ValueError, a TypeError, or a session that runs."""
    number = st.sampled_from((0, 1, 2, 3, 4, 5, 8, -1, 255, 256, 2**24, 2**31 - 1, -(2**31)))
    place = st.tuples(st.sampled_from((0, 1, 64, 128, 255)), st.tuples(number, number, number))
    pair = st.tuples(number, number)
    changes: dict[str, Any] = {
        "x": place,
        "y": place,
        "kernel": pair,
        "stride": pair,
        "padding": st.tuples(number, number, number, number),
        "dilation": pair,
        "groups": number,
        "x_zero_point": number,
        "segments": st.lists(st.tuples(number, number, number), max_size=3).map(
            lambda rows: np.array(rows, np.int32).reshape(-1, 3)
        ),
        "row": st.sampled_from([row["name"] for row in _native.kernel_table() if row["available"]]),
    }
    drawn = data.draw(st.dictionaries(st.sampled_from(sorted(changes)), st.none(), max_size=3))
    call = POINT | {key: data.draw(changes[key]) for key in drawn}
    one = session()
    try:
        one.conv2d(**call)
    except (ValueError, TypeError):
        return
    one.finish([call["x"]], [call["y"]])
    x = np.full((1, *call["x"][1]), 255, np.uint8)
    one.run([x], [np.zeros((1, *call["y"][1]), np.uint8)])


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
    place = (0, (3, 5, channels))
    one = _native.Session(3 * 5 * channels, 1)
    one.lookup("lookup_u8_scalar", place, place, np.arange(255, -1, -1, dtype=np.uint8))
    one.finish([place], [place])
    shape = (2, 3, 5, channels)
    size = int(np.prod(shape))
    x, y = Fenced(size, at_end=at_end).array.reshape(shape), Fenced(size, at_end=at_end).array.reshape(shape)
    x[:] = np.random.default_rng(0).integers(0, 256, shape)
    one.run([x], [y])
    np.testing.assert_array_equal(y, 255 - x)


@pytest.mark.parametrize("row", [one for one in _native.kernel_table() if one["family"] == "gemm" and one["available"]])
def test_the_smallest_weight_is_summed_exactly(row: dict[str, Any]) -> None:
    """-128 in every place of every step, one step to a segment, in an arena that ends with the last tensor."""
    tile, positions, steps = row["tile_n"], 13, 3
    rng = np.random.default_rng(1)
    packed = np.zeros((2 * steps, tile, 4), np.int8)
    packed[0::2, :, 0::2], packed[1::2, :, 1::2] = -128, -128  # split, so that no pair saturates
    segments = np.array([[0, step // 2, 1] for step in range(2 * steps)], np.int32)
    x, y = (0, (1, positions, 4 * steps)), (positions * 4 * steps, (1, positions, tile))
    one = _native.Session(y[0] + positions * tile, 2)
    change = {"row": row["name"], "x": x, "y": y, "packed": packed, "segments": segments, "y_zero_point": 200}
    one.conv2d(**POINT | change | {"bias": np.zeros(tile, np.int32), "requant": np.full(tile, 2.0**-9, np.float32)})
    one.finish([x], [y])
    given_x = rng.choice(np.array([0, 255], np.uint8), (1, *x[1]))
    got = np.zeros((1, *y[1]), np.uint8)
    one.run([given_x], [got])
    sums = (given_x.astype(np.int64) - row["shift"]).sum(-1, keepdims=True) * -128
    wanted = np.clip(np.rint(sums * 2.0**-9) + 200, 0, 255)
    np.testing.assert_array_equal(got, np.broadcast_to(wanted, got.shape))


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
    oaq.Session(planned)
except oaq.MemoryLimit as error:
    print(error)
"""


def test_memory_that_is_not_there_is_an_error_of_ours_with_the_right_advice() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert "there is not enough memory for a session of 1 threads" in done.stdout, done.stderr[-2000:]
    assert "ulimit -v" in done.stdout
