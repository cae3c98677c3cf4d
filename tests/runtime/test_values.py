"""What goes in and out of a session: layouts, types, NaN, and the words of each refusal."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.edges import Edge, channel_blocks, with_edges
from oaq.program.inputs import checked
from oaq.program.int_program import IntProgram
from oaq.runtime.values import by_affine, by_native, reals_by_affine, reals_by_native, to_floats, to_integers
from tests.strategies import Builder


def program(layout: str | None = "NCHW", inputs: int = 1) -> IntProgram:
    builder = Builder("two")
    x = [builder.input((2, 3, 4), Affine(0.5, 10), IntRange(5, 200)) for _ in range(inputs)]
    for each in x:
        builder.add(ops.Pad((0, 0, 0, 0)), [each])
    return builder.finish(**({} if layout is None else {"input_layout": layout}))


def test_floats_come_in_the_declared_layout_and_leave_in_it() -> None:
    q = np.random.default_rng(0).integers(5, 201, (3, 2, 3, 4)).astype(np.uint8)
    for layout in ("NCHW", "NHWC", None):
        net = program(layout)
        real = net.tensors["t0"].affine.dequantize(q)
        given = np.ascontiguousarray(real.transpose(0, 3, 1, 2)) if layout == "NCHW" else real
        (integers,) = to_integers(net, given)
        np.testing.assert_array_equal(integers, q)
        (back,) = to_floats(net, (integers,))
        np.testing.assert_array_equal(back, given)
        assert back.dtype == np.float32
        assert integers.flags.c_contiguous


def test_floats_saturate_to_the_effective_range_and_infinities_too() -> None:
    x = np.full((1, 4, 2, 3), np.inf, np.float32)
    x[0, 0] = -np.inf
    (q,) = to_integers(program(), x)
    assert q[0, :, :, 0].max() == 5
    assert q[0, :, :, 1:].min() == 200


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((1, 2, 3, 4), np.float32),
            r"takes float32 \(batch, 4, 2, 3\) in NCHW order or uint8 \(batch, 2, 3, 4\)",
        ),
        (np.zeros((1, 4, 2, 3), np.float64), r"got float64 \(1, 4, 2, 3\)"),
        (np.zeros((1, 4, 2, 3), np.int8), r"got int8 \(1, 4, 2, 3\)"),
        (np.full((1, 4, 2, 3), np.nan, np.float32), r"24 of 24 values are NaN, the first at \[0, 0, 0, 0\]"),
        (np.zeros((1, 2, 3, 4), np.uint8), r"holds integers 0\.\.0, outside the effective range \[5, 200\]"),
        (np.zeros((2, 3, 4), np.uint8), r"got uint8 \(2, 3, 4\)"),
        (np.float32(1), "got float32"),
        ([], "takes 1 inputs, got 0"),
        ({"x": np.zeros((1, 2, 3, 4), np.uint8)}, r"takes the inputs \['t0'\], got \['x'\]"),
        (["text"], "got str"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(x: object, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        to_integers(program(), x)  # type: ignore[arg-type]


def test_inputs_of_different_batches_and_unknown_layouts_are_refused() -> None:
    arrays = [np.full((n, 2, 3, 4), 9, np.uint8) for n in (1, 2)]
    with pytest.raises(ProgramError, match=r"different batch sizes \[1, 2\]"):
        checked(program(inputs=2), arrays)
    with pytest.raises(ProgramError, match="'CHWN'; it is NCHW or NHWC"):
        to_integers(program("CHWN"), arrays[0])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("width", [1, 85, 86, 300])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_native_code_rounds_floats_to_the_same_integers(layout: str, width: int, channels: int) -> None:
    """Three channels are interleaved by code of their own, 256 pixels at a time."""
    pytest.importorskip("oaq.kernels._native")
    builder = Builder("wide")
    scale = 0.017
    x = builder.input((3, width, channels), Affine(scale, 113), IntRange(3, 250))
    builder.add(ops.Pad((0, 0, 0, 0)), [x])
    net = builder.finish(input_layout=layout)
    rng = np.random.default_rng(width)
    size = 3 * width * channels
    halves = ((rng.integers(-300, 300, size) + 0.5) * np.float32(scale)).astype(np.float32)
    near = np.nextafter(halves, rng.choice(np.array([-np.inf, np.inf], np.float32), size))
    ends = rng.choice(np.array([np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 1e-40], np.float32), size)
    shape = (1, channels, 3, width) if layout == "NCHW" else (1, 3, width, channels)
    real = np.concatenate([part.reshape(shape) for part in (halves, near, ends)])
    wanted, got = to_integers(net, real, by_affine), to_integers(net, real, by_native)
    np.testing.assert_array_equal(got[0], wanted[0])
    assert {3, 250} <= set(got[0].ravel().tolist())
    for place in {0, size - 1, *(at for at in (255, 256, 511) if at < size)}:
        broken = real.copy()
        broken[2].ravel()[place] = np.nan
        with pytest.raises(ProgramError, match=f"1 of {3 * size} values are NaN"):
            to_integers(net, broken, by_native)
    assert to_integers(net, real[:0], by_native)[0].shape == (0, 3, width, channels)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("width", [1, 85, 86, 300])
@pytest.mark.parametrize("channels", [1, 3, 5, 21])
def test_native_code_gives_the_same_reals(layout: str, width: int, channels: int) -> None:
    pytest.importorskip("oaq.kernels._native")
    builder = Builder("wide")
    x = builder.input((3, width, channels), Affine(0.017, 113), IntRange(0, 255))
    builder.add(ops.Pad((0, 0, 0, 0)), [x])
    net = builder.finish(input_layout=layout)
    q = np.random.default_rng(width).integers(0, 256, (2, 3, width, channels)).astype(np.uint8)
    q.reshape(-1)[:2] = (0, 255)
    (law,), (native,) = to_floats(net, (q,), reals_by_affine), to_floats(net, (q,), reals_by_native)
    np.testing.assert_array_equal(native, law)
    assert native.dtype == np.float32 and native.flags.c_contiguous
    assert to_floats(net, (q[:0],), reals_by_native)[0].shape == law[:0].shape


def reordered(axes: tuple[tuple[int, ...], ...]) -> IntProgram:
    """The program whose caller has its three axes in another order, at both ends."""
    net = program("NHWC")
    ends = [Edge(name, name, "float32", (2, 3, 4), axes) for name in (*net.inputs, *net.outputs)]
    return with_edges(net, ends[:1], ends[1:])


@pytest.mark.parametrize("axes", [((1,), (0,), (2,)), ((2,), (1,), (0,)), ((0,), (2,), (1,)), ((2,), (0, 1))])
def test_any_order_of_axes_is_undone_at_both_ends(axes: tuple[tuple[int, ...], ...]) -> None:
    net = reordered(axes)
    q = np.random.default_rng(0).integers(5, 201, (3, 2, 3, 4)).astype(np.uint8)
    order = [axis + 1 for part in axes for axis in part]
    edge = Edge("x", "x", "float32", (2, 3, 4), axes)
    real = np.ascontiguousarray(net.tensors["t0"].affine.dequantize(q).transpose(0, *order)).reshape(3, *edge.shape)
    for quantizer, dequantizer in ((by_affine, reals_by_affine), (by_native, reals_by_native)):
        (integers,) = to_integers(net, real, quantizer)
        np.testing.assert_array_equal(integers, q)
        (back,) = to_floats(net, (integers,), dequantizer)
        np.testing.assert_array_equal(back, real)
        assert to_integers(net, real[:0], quantizer)[0].shape == (0, 2, 3, 4)
        broken = real.copy()
        broken[1].reshape(-1)[5] = np.nan
        with pytest.raises(ProgramError, match="1 of 72 values are NaN"):
            to_integers(net, broken, quantizer)


def test_orders_that_two_blocks_say_and_those_that_none_do() -> None:
    for axes, blocks in (
        (((0,), (1,), (2,)), (1, 24)),
        (((2,), (0,), (1,)), (4, 6)),
        (((1,), (2,), (0,)), (12, 2)),
        (((1,), (0,), (2,)), None),
        (((2,), (1,), (0,)), None),
    ):
        assert channel_blocks(Edge("x", "x", "float32", (2, 3, 4), axes)) == blocks
