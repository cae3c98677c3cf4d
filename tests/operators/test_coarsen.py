"""Coarsen: what is exact at the ends of its integers, what its range promises, and native code beside the law."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import torch

import oaq
from oaq import operators as ops
from oaq.capture.graph import FloatNode
from oaq.errors import ProgramError, UnsupportedOp
from oaq.export import onnx as export_onnx
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.operators.coarsen import MOST_POSITIONS, image, largest_step, law, place_and_step
from oaq.operators.tensor import TensorSpec
from oaq.program.frames import PaneEnds, at_size, spans
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.qat.grid import Grid
from oaq.qat.laws import moved
from oaq.reference import run
from oaq.runtime import Session
from tests.strategies import Builder


def coarsen(bits: list[int], factors: list[int], rectified: list[int], limits: list[int] | None = None) -> ops.Coarsen:
    """One entry per channel; steps as large as there are, if not said."""
    widths = np.array(bits, np.uint8)
    most = largest_step(widths) if limits is None else np.array(limits)
    return ops.Coarsen(widths, np.array(factors, np.int32), most.astype(np.uint8), np.array(rectified, np.uint8))


def program(op: ops.Coarsen, shape: tuple[int, ...], zero: int, ends: tuple[int, int] = (0, 255)) -> IntProgram:
    """The operator alone."""
    builder = Builder("coarsen")
    x = builder.input(shape, Affine(0.5, zero), IntRange(*ends))
    builder.add(op, [x], Affine(0.5, zero), IntRange(*ends))
    return builder.finish()


def levels(op: ops.Coarsen, x: np.ndarray, zero: int) -> np.ndarray:
    """The law on (batch, ..., C)."""
    spec = TensorSpec("x", x.shape[1:], Affine(1.0, zero))
    return law(op, [x.astype(np.uint8)], [spec], spec)


def images(shape: tuple[int, ...], seed: int = 0) -> Iterator[np.ndarray]:
    """Constant images at every end, ramps, two values, one outlier, noise about several means."""
    rng = np.random.default_rng(seed)
    for value in (0, 1, 127, 128, 254, 255):
        yield np.full(shape, value, np.uint8)
    yield np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    yield np.where(rng.random(shape) < 0.5, 0, 255).astype(np.uint8)
    outlier = np.full(shape, 3, np.uint8)
    outlier.reshape(-1)[-shape[-1] :] = 255
    yield outlier
    for mean, deviation in ((128, 40), (10, 10), (240, 20), (128, 1)):
        yield np.clip(np.rint(rng.normal(mean, deviation, shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (9, 7, 1)])
def test_a_constant_channel_is_kept_wherever_it_lies(value: int, shape: tuple[int, ...]) -> None:
    x = np.full((1, *shape), value, np.uint8)
    for bits in range(1, 8):
        assert np.array_equal(levels(coarsen([bits], [586], [0]), x, 40), x), bits


@pytest.mark.parametrize("value", [40, 41, 140, 255])
def test_a_constant_rectified_channel_is_reached_within_half_a_step(value: int) -> None:
    """Without the second term a large mean of little spread would be cut to the width of the levels."""
    x = np.full((1, 16, 16, 1), value, np.uint8)
    for bits in (2, 4):
        y = levels(coarsen([bits], [586], [1]), x, 40)
        step = -(-(value - 40) // (2**bits - 1)) + 1
        assert np.abs(y - value).max() <= step // 2 + 1
        assert not (y - 40 == 0).any() or value == 40


def test_one_image_has_at_most_two_to_the_bits_levels() -> None:
    for bits in range(1, 8):
        op = coarsen([bits, bits], [996, 996], [0, 1])
        for x in images((13, 11, 2)):
            y = levels(op, x[None], 20)
            assert all(len(np.unique(y[..., channel])) <= 1 << bits for channel in (0, 1))


def test_zero_of_a_rectified_channel_is_kept_and_what_lies_below_it_becomes_zero() -> None:
    x = np.array([0, 19, 20, 21, 255] * 3, np.uint8).reshape(1, 15, 1)
    y = levels(coarsen([3], [731], [1]), x, 20)
    assert np.all(y[x <= 20] == 20)


def test_images_of_a_batch_have_their_own_levels() -> None:
    op, batch = coarsen([2, 2], [996, 996], [0, 1]), np.stack(list(images((6, 5, 2))))
    alone = np.concatenate([levels(op, x[None], 7) for x in batch])
    assert np.array_equal(levels(op, batch, 7), alone)


def test_the_step_is_the_nearest_whole_number_of_deviations_that_are_never_computed() -> None:
    """Half a step is compared in exact fractions: (2 m - 1) / 2 <= s * sqrt(V) / (1000 N) < (2 m + 1) / 2."""
    rng = np.random.default_rng(3)
    for factor in (1, 335, 586, 4000):
        op = coarsen([2], [factor], [0], [85])
        for _ in range(200):
            x = rng.integers(0, rng.integers(1, 256) + 1, rng.integers(1, 40)).astype(int)
            sums = len(x), int(x.sum()), int((x**2).sum())
            _, step = place_and_step(op, 0, sums, 0)
            square = Fraction(factor**2 * (sums[0] * sums[2] - sums[1] ** 2), (1000 * sums[0]) ** 2)
            assert step == 1 or Fraction(2 * step - 1, 2) ** 2 <= square
            assert step == 85 or square < Fraction(2 * step + 1, 2) ** 2


def test_sums_of_the_largest_image_fit_what_native_code_gives_them() -> None:
    count, half = MOST_POSITIONS, MOST_POSITIONS // 2
    total, squares = half * 255, half * 255**2  # half black, half white: the largest variance there is
    spread = count * squares - total**2
    assert spread == (count * 255) ** 2 // 4 < 1 << 62
    assert 4 * spread * 4000**2 < 1 << 88
    root = isqrt(4 * spread * 4000**2)
    assert root < 1 << 44 and root + 1000 * count < 1 << 63 and 2 * 4000 * count * 255 + root < 1 << 63
    first, step = place_and_step(coarsen([4], [4000], [0]), 0, (count, total, squares), 0)
    assert (first, step) == (128 - 8 * 17, 17)


def test_images_of_more_positions_are_refused() -> None:
    op = coarsen([4], [586], [0])
    assert ops.output_shape(op, [(4096, 4096, 1)]) == (4096, 4096, 1)
    with pytest.raises(
        ProgramError, match=r"16781312 positions of \(4096, 4097, 1\); sums of at most 2\*\*24 are exact"
    ):
        ops.output_shape(op, [(4096, 4097, 1)])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (([0], [586], [0], [1]), "1 to 7 bits, not 0 to 0"),
        (([8], [586], [0], [1]), "1 to 7 bits, not 8 to 8"),
        (([4], [0], [0], [17]), "factors are 1 to 4000"),
        (([4], [4001], [0], [17]), "factors are 1 to 4000"),
        (([4], [586], [0], [18]), "steps are 1 to 255 div"),
        (([4], [586], [0], [0]), "steps are 1 to 255 div"),
        (([4], [586], [2], [17]), "rectified is 0 or 1, not 2"),
        (([4, 4], [586], [0, 0], [17, 17]), "one per channel, not 2, 1, 2 and 2"),
    ],
)
def test_levels_that_there_are_not_are_refused(fields: tuple[list[int], ...], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        coarsen(*fields)


ENDS = [(0, 0), (255, 255), (0, 255), (40, 60), (0, 1), (100, 255), (0, 40), (39, 41), (200, 203)]


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
@pytest.mark.parametrize("factor", [1, 586, 4000])
def test_the_range_holds_for_images_of_any_size_and_is_reached(bits: int, factor: int) -> None:
    """Random, extreme and two-valued images inside windows, some of which do not hold 0."""
    rng = np.random.default_rng(bits)
    for rectified, (lo, hi) in ((kind, ends) for kind in (0, 1) for ends in ENDS):
        op = coarsen([bits], [factor], [rectified])
        spec = TensorSpec("x", (1,), Affine(1.0, 40))
        promised = image(op, [ChannelRanges(np.array([lo]), np.array([hi]))], [spec], spec, "")
        reached = [255, 0]
        for count in (1, 2, 3, 50, 999):
            for share in np.linspace(0, 1, 23):
                x = np.where(rng.random(count) < share, lo, hi) if count > 1 else np.array([hi])
                x[: count // 3] = rng.integers(lo, hi + 1, count // 3)
                y = levels(op, x.reshape(1, -1, 1), 40)
                reached = [min(reached[0], int(y.min())), max(reached[1], int(y.max()))]
        assert promised.lo[0] <= reached[0] and reached[1] <= promised.hi[0], (rectified, lo, hi, reached)
        if lo == hi and not rectified:
            assert (promised.lo[0], promised.hi[0]) == (lo, lo)


def test_both_ends_of_the_range_are_reached() -> None:
    op, reached = coarsen([4], [586], [0]), [255, 0]
    spec = TensorSpec("x", (1,), Affine(1.0, 40))
    promised = image(op, [ChannelRanges(np.array([60]), np.array([180]))], [spec], spec, "")
    for share in np.linspace(0.0, 1.0, 400):
        few = int(1000 * share)
        for other in range(60, 70):
            x = np.concatenate([np.full(few, 180), np.full(1000 - few, other), [60]])
            for values in (x, 240 - x):
                y = levels(op, values.reshape(1, -1, 1), 40)
                reached = [min(reached[0], int(y.min())), max(reached[1], int(y.max()))]
    assert reached == [promised.lo[0], promised.hi[0]] == [52, 188]


@pytest.mark.parametrize("shape", [(1,), (7, 3), (1, 1, 33), (9, 11, 5), (257, 131, 3), (4, 3, 5, 4)])
@pytest.mark.parametrize("zero", [0, 20, 255])
def test_native_code_has_the_integers_of_the_law(shape: tuple[int, ...], zero: int) -> None:
    channels = shape[-1]
    rng = np.random.default_rng(channels)
    bits, factors = rng.integers(1, 8, channels), rng.integers(1, 4001, channels)
    limits = [int(rng.integers(1, most + 1)) for most in largest_step(bits.astype(np.uint8))]
    op = coarsen(bits.tolist(), factors.tolist(), rng.integers(0, 2, channels).tolist(), limits)
    made = program(op, shape, zero, (0, 255))
    for threads in (1, 3):
        session = Session(oaq.plan(made), threads=threads)
        x = np.stack(list(images(shape, seed=zero)))
        np.testing.assert_array_equal(session.run_integers(x)[0], run(made, x).outputs[0])


def test_native_sums_of_many_strips_are_exact() -> None:
    made = program(coarsen([4, 4], [586, 586], [0, 1]), (700, 701, 2), 3)
    x = np.random.default_rng(0).choice(np.array([0, 3, 254, 255], np.uint8), (1, 700, 701, 2))
    np.testing.assert_array_equal(Session(oaq.plan(made)).run_integers(x)[0], run(made, x).outputs[0])


def test_results_are_clamped_to_the_effective_range() -> None:
    made = program(coarsen([2, 2], [1596, 1596], [0, 1]), (8, 8, 2), 30, (10, 200))
    x = np.random.default_rng(1).choice(np.array([10, 30, 200], np.uint8), (3, 8, 8, 2))
    y = run(made, x).outputs[0]
    assert y.min() >= 10 and y.max() <= 200
    np.testing.assert_array_equal(Session(oaq.plan(made)).run_integers(x)[0], y)


def test_files_hold_it_and_the_checker_derives_its_range_again(tmp_path: Path) -> None:
    made = program(coarsen([4, 2, 3], [586, 996, 731], [0, 1, 0], [5, 9, 36]), (5, 7, 3), 20)
    oaq.save(made, tmp_path / "net.oaq")
    loaded = oaq.load(tmp_path / "net.oaq")
    assert fingerprint(loaded) == fingerprint(made)
    oaq.verify(loaded).raise_if_unsafe()


def test_a_frame_as_a_whole_may_have_any_size_and_panes_are_refused() -> None:
    made = program(coarsen([4], [586], [0]), (8, 8, 1), 20)
    large = at_size(made, 20, 30)
    assert large.tensors[large.outputs[0]].shape == (20, 30, 1)
    with pytest.raises(ProgramError, match="Coarsen looks at the whole image, so panes would give other integers"):
        spans(made, 0, PaneEnds(begins=True, ends=True))


def test_onnx_is_refused_by_the_nodes_name() -> None:
    with pytest.raises(UnsupportedOp, match="Coarsen takes exact statistics of more than 64 bits"):
        export_onnx(program(coarsen([4], [586], [0]), (8, 8, 1), 20), "never.onnx")


@pytest.mark.parametrize("zero", [0, 20, 255])
def test_training_computes_the_law_and_stops_gradients_outside_of_the_levels(zero: int) -> None:
    op = coarsen([2, 2, 4], [996, 996, 586], [0, 1, 0], [85, 20, 3])
    x = np.stack([image_of.reshape(9, 7, 3) for image_of in images((9, 7, 3))])
    centred = torch.from_numpy(x.astype(np.float32)).movedim(-1, 1) - zero
    centred.requires_grad_()
    grid = Grid(torch.tensor(0.5), zero, IntRange(0, 255))
    y = moved(FloatNode("node", op, ("x",), "y"), centred, grid)
    exact = levels(op, x, zero)
    np.testing.assert_array_equal(y.detach().movedim(1, -1).numpy() + zero, exact)
    y.sum().backward()
    passes = centred.grad.movedim(1, -1).numpy()  # type: ignore[union-attr]
    assert set(np.unique(passes)) <= {0.0, 1.0}
    assert not passes[np.abs(x.astype(int) - exact) > 85].any()
    assert passes[6:].mean() > 0.5
