"""What no operator takes: each refusal, beside the nearest value that is taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators.avg_pool import check_sum
from oaq.operators.products import check_total
from oaq.operators.tensor import LARGEST_RANK, TensorSpec
from oaq.operators.windows import LARGEST_WINDOW

UNIT = Affine(1.0)
U8 = IntRange(0, 255)


def real(count: int, value: float = 0.5) -> Requantize:
    """Multipliers of float32."""
    return Requantize(np.full(count, value, np.float32))


def fixed(multipliers: list[int], shifts: list[int], then: list[int] | None = None) -> Requantize:
    """Multipliers of fixed point."""
    numbers = (None if part is None else np.array(part, np.int32) for part in (multipliers, shifts, then))
    return Requantize(*numbers)  # type: ignore[arg-type]


def weight(*shape: int, dtype: type[np.generic] = np.int8) -> np.ndarray:
    return np.ones(shape, dtype)


def conv(shape: tuple[int, ...], groups: int = 1, bias: int | None = None, **window: tuple[int, ...]) -> ops.Conv2d:
    count = shape[0] if shape else 1
    return ops.Conv2d(weight(*shape), np.zeros(bias or count, np.int32), real(count), groups=groups, **window)


def linear(wide: np.ndarray) -> ops.Linear:
    return ops.Linear(wide, np.zeros(len(wide), np.int32), real(len(wide)))  # type: ignore[arg-type]


def mean(kernel: tuple[int, ...], **more: object) -> ops.AvgPool:
    return ops.AvgPool(kernel, (1,) * len(kernel), real(int(np.prod(kernel))), **more)  # type: ignore[arg-type]


Make = Callable[[], object]
VALUES: dict[str, tuple[str, Make, Make]] = {
    "add of three multipliers": ("2 requantize multipliers, has 3", lambda: ops.Add(real(3)), lambda: ops.Add(real(2))),
    "add of one multiplier": ("2 requantize multipliers, has 1", lambda: ops.Add(real(1)), lambda: ops.Add(real(2))),
    "add beyond float32": (
        "no float32 sum",
        lambda: ops.Add(Requantize(np.array([0.5, np.nextafter(np.float32(2.0**119), np.inf)], np.float32))),
        lambda: ops.Add(Requantize(np.array([0.5, 2.0**119], np.float32))),
    ),
    "add with two shifts": (
        "one number, not 31 and 32",
        lambda: ops.Add(fixed([5, 5], [31, 32])),
        lambda: ops.Add(fixed([5, 2**31 - 1], [31, 31])),
    ),
    "add that rounds twice": (
        "rounds its sum once",
        lambda: ops.Add(fixed([5, 5], [31, 31], [1, 1])),
        lambda: ops.Add(fixed([5, 5], [31, 31])),
    ),
    "mul of two multipliers": ("1 requantize", lambda: ops.Mul(real(2)), lambda: ops.Mul(real(1))),
    "concat of nothing": ("at least one", lambda: ops.Concat(real(0)), lambda: ops.Concat(real(1))),
    "global average of two multipliers": (
        "1 requantize",
        lambda: ops.GlobalAvgPool(real(2)),
        lambda: ops.GlobalAvgPool(real(1)),
    ),
    "average with a multiplier too few": (
        "needs 6 requantize multipliers, has 5",
        lambda: ops.AvgPool((2, 3), (1, 1), real(5)),
        lambda: ops.AvgPool((2, 3), (1, 1), real(6)),
    ),
    "average padded by its kernel": (
        "AvgPool: padding .* reaches the size",
        lambda: mean((2, 2), padding=(0, 0, 0, 2)),
        lambda: mean((2, 2), padding=(1, 1, 1, 1)),
    ),
    "average about an integer below 0": (
        r"integer in \[0, 255\]",
        lambda: mean((2,), count_include_pad=False, origin=-1),
        lambda: mean((2,), count_include_pad=False, origin=0),
    ),
    "average about an integer above 255": (
        r"integer in \[0, 255\]",
        lambda: mean((2,), count_include_pad=False, origin=256),
        lambda: mean((2,), count_include_pad=False, origin=255),
    ),
    "average about an integer with padding": (
        "leaves padding out",
        lambda: mean((2,), count_include_pad=True, origin=9),
        lambda: mean((2,), count_include_pad=True),
    ),
    "maximum padded by its kernel": (
        "MaxPool: padding .* reaches the size",
        lambda: ops.MaxPool((3, 2), (1, 1), (0, 3, 0, 0)),
        lambda: ops.MaxPool((3, 2), (1, 1), (2, 2, 1, 1)),
    ),
    "maximum padded by its dilated kernel": (
        "reaches the size",
        lambda: ops.MaxPool((2,), (1,), (2, 0), (3,)),
        lambda: ops.MaxPool((2,), (1,), (1, 1), (3,)),
    ),
    "window of four axes": ("out of range", lambda: ops.MaxPool((1,) * 4, (1,) * 4), lambda: mean((1,) * 3)),
    "window of no axis": ("out of range", lambda: ops.MaxPool((), ()), lambda: ops.MaxPool((1,), (1,))),
    "window with a stride too few": (
        "out of range",
        lambda: ops.MaxPool((2, 2), (1,)),
        lambda: ops.MaxPool((2, 2), (1, 1)),
    ),
    "window with a dilation too many": (
        "out of range",
        lambda: ops.MaxPool((2, 2), (1, 1), (), (1, 1, 1)),
        lambda: ops.MaxPool((2, 2), (1, 1), (), (2, 1)),
    ),
    "window with a padding too few": (
        "out of range",
        lambda: ops.MaxPool((2, 2), (1, 1), (0, 0, 0)),
        lambda: ops.MaxPool((2, 2), (1, 1), (0, 0, 0, 1)),
    ),
    "stride of 0": ("out of range", lambda: ops.MaxPool((2,), (0,)), lambda: ops.MaxPool((2,), (1,))),
    "dilation of 0": ("out of range", lambda: ops.MaxPool((2,), (1,), (), (0,)), lambda: mean((2,))),
    "padding below 0": ("out of range", lambda: conv((1, 2, 1), padding=(-1, 0)), lambda: conv((1, 2, 1))),
    "the longest stride": (
        "out of range",
        lambda: conv((1, 1, 1), stride=(LARGEST_WINDOW + 1,)),
        lambda: conv((1, 1, 1), stride=(LARGEST_WINDOW,)),
    ),
    "the longest padding": (
        "out of range",
        lambda: conv((1, 1, 1), padding=(0, LARGEST_WINDOW + 1)),
        lambda: conv((1, 1, 1), padding=(0, LARGEST_WINDOW)),
    ),
    "the longest dilation": (
        "out of range",
        lambda: conv((1, 1, 1), dilation=(LARGEST_WINDOW + 1,)),
        lambda: conv((1, 1, 1), dilation=(LARGEST_WINDOW,)),
    ),
    "groups that do not divide": ("does not divide the 4", lambda: conv((4, 1, 1), 3), lambda: conv((4, 1, 1), 2)),
    "groups of 0": ("groups 0 does not", lambda: conv((4, 1, 1), 0), lambda: conv((4, 1, 1), 1)),
    "groups below 0": ("groups -2 does not", lambda: conv((4, 1, 1), -2), lambda: conv((4, 1, 1), 4)),
    "convolution of two axes": ("4-d int8 expected", lambda: conv((4, 1)), lambda: conv((4, 1, 1))),
    "convolution of six axes": ("4-d int8 expected", lambda: conv((4,) + (1,) * 5), lambda: conv((4,) + (1,) * 4)),
    "a bias too many": ("3 biases for 2 outputs", lambda: conv((2, 1, 1), bias=3), lambda: conv((2, 1, 1), bias=2)),
    "linear of three axes": ("2-d int8 expected", lambda: linear(weight(2, 1, 1)), lambda: linear(weight(2, 1))),
    "weights of int32": (
        "int8 expected, not int32",
        lambda: linear(weight(2, 1, dtype=np.int32)),
        lambda: linear(weight(2, 1, dtype=np.int16)),
    ),
    "no weights": ("int8 expected", lambda: linear(np.ones((2, 0), np.int8)), lambda: linear(weight(2, 1))),
    "weights above 255": (
        r"lie in \[-255, 255\].*not in \[0, 256\]",
        lambda: linear(np.array([[0, 256]], np.int16)),
        lambda: linear(np.array([[0, 255]], np.int16)),
    ),
    "weights below -255": (
        r"not in \[-256, 0\]",
        lambda: linear(np.array([[0, -256]], np.int16)),
        lambda: linear(np.array([[0, -255]], np.int16)),
    ),
    "bias of int64": (
        "bias: 1-d int32 expected",
        lambda: ops.Linear(weight(2, 1), np.zeros(2, np.int64), real(2)),  # type: ignore[arg-type]
        lambda: ops.Linear(weight(2, 1), np.zeros(2, np.int32), real(2)),
    ),
    "a table of 255": (
        "256 entries",
        lambda: ops.Lookup(np.zeros(255, np.uint8)),
        lambda: ops.Lookup(np.zeros(256, np.uint8)),
    ),
    "a table of int8": (
        "1-d uint8 expected",
        lambda: ops.Lookup(np.zeros(256, np.int8)),  # type: ignore[arg-type]
        lambda: ops.Lookup(np.zeros(256, np.uint8)),
    ),
    "resize to no row": ("is not a size", lambda: ops.Resize(0, 3), lambda: ops.Resize(1, 3)),
    "resize to no column": ("is not a size", lambda: ops.Resize(3, 0), lambda: ops.Resize(3, 1)),
    "resize by another mode": (
        "cubic to 3 x 3",
        lambda: ops.Resize(3, 3, "cubic"),  # type: ignore[arg-type]
        lambda: ops.Resize(3, 3, "bilinear"),
    ),
    "blocks of 0": ("block 0", lambda: ops.DepthToSpace(0), lambda: ops.DepthToSpace(1)),
    "blocks in another order": (
        "mode ABC",
        lambda: ops.DepthToSpace(1, "ABC"),  # type: ignore[arg-type]
        lambda: ops.DepthToSpace(1, "DCR"),
    ),
    "pad by three numbers": ("four numbers", lambda: ops.Pad((0, 1, 2)), lambda: ops.Pad((0, 1))),
    "pad by eight numbers": ("four numbers", lambda: ops.Pad((0,) * 8), lambda: ops.Pad((0,) * 6)),
    "pad by no number": ("four numbers", lambda: ops.Pad(()), lambda: ops.Pad((0,) * 4)),
    "pad by -1": ("four numbers", lambda: ops.Pad((5, -1)), lambda: ops.Pad((5, 0))),
    "pad too long": (
        "four numbers",
        lambda: ops.Pad((0, LARGEST_WINDOW + 1)),
        lambda: ops.Pad((0, LARGEST_WINDOW)),
    ),
    "a tensor without a name": (
        "needs a name",
        lambda: TensorSpec("", (1,), UNIT),
        lambda: TensorSpec("x", (1,), UNIT),
    ),
    "a tensor without an axis": (
        "1 to 8 axes",
        lambda: TensorSpec("x", (), UNIT),
        lambda: TensorSpec("x", (1,), UNIT),
    ),
    "a tensor of nine axes": (
        "1 to 8 axes",
        lambda: TensorSpec("x", (1,) * (LARGEST_RANK + 1), UNIT),
        lambda: TensorSpec("x", (1,) * LARGEST_RANK, UNIT),
    ),
    "a tensor with an empty axis": (
        "all >= 1",
        lambda: TensorSpec("x", (3, 0, 2), UNIT),
        lambda: TensorSpec("x", (3, 1, 2), UNIT),
    ),
    "a tensor of 2**31 integers": (
        r"holds 2147483648 integers",
        lambda: TensorSpec("x", (1 << 16, 1 << 15), UNIT),
        lambda: TensorSpec("x", ((1 << 31) - 1,), UNIT),
    ),
    "a range beyond u8": (
        "leaves u8",
        lambda: TensorSpec("x", (1,), UNIT, IntRange(0, 256)),
        lambda: TensorSpec("x", (1,), UNIT, U8),
    ),
    "a zero point outside the range": (
        "zero point 0 lies outside",
        lambda: TensorSpec("x", (1,), UNIT, IntRange(1, 9)),
        lambda: TensorSpec("x", (1,), UNIT, IntRange(0, 9)),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_makes_no_sense_is_refused_and_its_neighbour_is_not(name: str) -> None:
    words, wrong, right = VALUES[name]
    with pytest.raises(ProgramError, match=words):
        wrong()
    right()


IMAGE, LINE, VECTOR, VOLUME = (5, 6, 4), (5, 4), (4,), (3, 5, 6, 4)
Shapes = tuple[tuple[int, ...], ...]
GEOMETRIES: dict[str, tuple[str, ops.Op, Shapes, Shapes, tuple[int, ...]]] = {
    "Conv2d of a line": ("needs a .H, W, C. input", conv((2, 1, 1, 4)), (LINE,), (IMAGE,), (5, 6, 2)),
    "Conv2d of other channels": ("take 4 channels, the input", conv((2, 1, 1, 4)), ((5, 6, 3),), (IMAGE,), (5, 6, 2)),
    "Conv2d in groups of other channels": ("take 4 chan", conv((2, 1, 1, 2), 2), ((5, 6, 2),), (IMAGE,), (5, 6, 2)),
    "Conv2d beyond its input": ("no window fits", conv((2, 6, 1, 4)), (IMAGE,), ((6, 6, 4),), (1, 6, 2)),
    "Conv2d of one axis": ("needs a .L, C. input", conv((2, 3, 4)), (IMAGE,), (LINE,), (3, 2)),
    "Conv2d of three axes": ("needs a .D, H, W, C.", conv((2, 3, 1, 1, 4)), (IMAGE,), (VOLUME,), (1, 5, 6, 2)),
    "Linear of other terms": (r"take \(\.\.\., 4\)", linear(weight(3, 4)), ((4, 5),), ((5, 4),), (5, 3)),
    "Linear of a vector": (r"take \(\.\.\., 4\)", linear(weight(3, 4)), ((5,),), (VECTOR,), (3,)),
    "Linear of an image": (r"take \(\.\.\., 4\)", linear(weight(3, 4)), ((6, 4, 5),), (IMAGE,), (5, 6, 3)),
    "Add of two shapes": ("have one shape", ops.Add(real(2)), (IMAGE, LINE), (IMAGE, IMAGE), IMAGE),
    "Add of one input": ("takes 2 inputs, got 1", ops.Add(real(2)), (IMAGE,), (LINE, LINE), LINE),
    "Mul of other channels": ("neither equals", ops.Mul(real(1)), (IMAGE, (5,)), (IMAGE, VECTOR), IMAGE),
    "Mul of rows": ("neither equals", ops.Mul(real(1)), (IMAGE, (1, 6, 4)), (IMAGE, (1, 1, 4)), IMAGE),
    "Mul of a larger second": ("neither equals", ops.Mul(real(1)), (VECTOR, LINE), (LINE, LINE), LINE),
    "Concat of other rows": ("differ outside", ops.Concat(real(2)), (IMAGE, (6, 6, 4)), (IMAGE, (5, 6, 1)), (5, 6, 5)),
    "Concat of two ranks": ("differ outside", ops.Concat(real(2)), (IMAGE, LINE), (LINE, (5, 2)), (5, 6)),
    "Concat of three": ("takes 3 inputs, got 2", ops.Concat(real(3)), (LINE, LINE), (LINE, LINE, (5, 1)), (5, 9)),
    "MaxPool of a line": ("needs a .H, W, C.", ops.MaxPool((2, 3), (1, 1)), (LINE,), (IMAGE,), (4, 4, 4)),
    "MaxPool beyond its input": ("no window", ops.MaxPool((1, 7), (1, 1)), (IMAGE,), ((5, 7, 4),), (5, 1, 4)),
    "AvgPool of an image": ("needs a .L, C.", mean((2,)), (IMAGE,), (LINE,), (4, 4)),
    "GlobalAvgPool of a vector": (
        "needs a .H, W, C. input, or",
        ops.GlobalAvgPool(real(1)),
        (VECTOR,),
        (LINE,),
        (1, 4),
    ),
    "Resize of a line": ("needs a .H, W, C.", ops.Resize(2, 9), (LINE,), (IMAGE,), (2, 9, 4)),
    "Resize of a volume": ("needs a .H, W, C.", ops.Resize(1, 1), (VOLUME,), (IMAGE,), (1, 1, 4)),
    "DepthToSpace of other channels": ("multiple of 4", ops.DepthToSpace(2), ((5, 6, 6),), (IMAGE,), (10, 12, 1)),
    "DepthToSpace of a line": ("needs a .H, W, C.", ops.DepthToSpace(2, "DCR"), (LINE,), (IMAGE,), (10, 12, 1)),
    "Reshape of fewer": ("does not fill", ops.Reshape((5, 4)), ((5, 3),), ((20,),), (5, 4)),
    "Reshape to nothing": ("does not fill", ops.Reshape((0,)), (LINE,), ((20, 1),), ()),
    "Reshape to nine axes": ("does not fill", ops.Reshape((1,) * 9), ((1,),), ((20,),), ()),
    "Slice beyond an axis": ("inside", ops.Slice((1, 0), (6, 4)), (LINE,), ((6, 4),), (5, 4)),
    "Slice of another rank": ("inside", ops.Slice((1,), (2,)), (LINE,), ((2,),), (1,)),
    "Slice of nothing": ("inside", ops.Slice((1, 2), (2, 2)), (LINE,), ((20,),), ()),
    "Slice from below": ("inside", ops.Slice((-1, 0), (2, 2)), (LINE,), ((20,),), ()),
    "Slice with an end too few": ("inside", ops.Slice((0, 0), (2,)), (LINE,), ((20,),), ()),
    "Slice whose first axis fits": ("inside", ops.Slice((0, 3), (5, 5)), (LINE,), ((5, 5),), (5, 2)),
    "Slice whose last axis fits": ("inside", ops.Slice((0, 3), (6, 4)), (LINE,), ((6, 4),), (6, 1)),
    "Pad of a line": ("needs a .H, W, C.", ops.Pad((1, 2, 3, 4)), (LINE,), (IMAGE,), (8, 13, 4)),
    "Pad of a vector": ("needs a .L, C.", ops.Pad((1, 2)), (VECTOR,), (LINE,), (8, 4)),
    "Pad of an image": ("needs a .D, H, W, C.", ops.Pad((0, 0, 1, 2, 3, 4)), (IMAGE,), (VOLUME,), (3, 8, 13, 4)),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_shapes_that_do_not_fit_are_refused_and_those_beside_them_are_not(name: str) -> None:
    words, op, wrong, right, result = GEOMETRIES[name]
    with pytest.raises(ProgramError, match=words):
        ops.output_shape(op, wrong)
    if result:
        assert ops.output_shape(op, right) == result


def test_values_are_copies_that_nobody_can_change() -> None:
    weights, bias, table = weight(2, 1, 1, 1), np.zeros(2, np.int32), np.zeros(256, np.uint8)
    value, lookup = ops.Conv2d(weights, bias, real(2)), ops.Lookup(table)
    for array, held in ((weights, value.weight), (bias, value.bias), (table, lookup.table)):
        before = held.tolist()
        array += 3  # type: ignore[misc]
        assert held.tolist() == before
        with pytest.raises(ValueError, match="read-only"):
            held[0] = 1
    flat = ops.Linear(np.asfortranarray(weight(3, 4)), np.zeros(3, np.int32), real(3))
    assert flat.weight.flags.c_contiguous


@pytest.mark.parametrize(("ends", "dtype"), [((-128, 127), np.int8), ((-129, 0), np.int16), ((0, 128), np.int16)])
def test_wide_weights_are_held_in_the_narrowest_type(ends: tuple[int, int], dtype: type[np.generic]) -> None:
    assert linear(np.array([ends], np.int16)).weight.dtype == dtype


def test_a_table_must_keep_the_output_in_its_range_wherever_the_input_reaches() -> None:
    table = np.arange(256, dtype=np.uint8)
    check = ops.OPERATORS["Lookup"].check
    assert check is not None
    spec = {name: TensorSpec("x", (1,), Affine(1.0, 20), IntRange(*name)) for name in ((10, 20), (9, 20), (10, 21))}
    for table_op in (ops.Lookup(table),):
        check(table_op, [spec[10, 20]], spec[10, 20])
        for reaching in ((9, 20), (10, 21)):
            with pytest.raises(ProgramError, match="outside IntRange"):
                check(table_op, [spec[reaching]], spec[10, 20])


def test_an_average_about_an_integer_keeps_the_affine_map_and_another_need_not() -> None:
    check = ops.OPERATORS["AvgPool"].check
    assert check is not None
    x, y = TensorSpec("x", LINE, Affine(1.0, 3)), TensorSpec("y", LINE, Affine(0.5, 3))
    check(mean((2,)), [x], y)
    check(mean((2,), count_include_pad=False, origin=3), [x], x)
    with pytest.raises(ProgramError, match="averages about 3"):
        check(mean((2,), count_include_pad=False, origin=3), [x], y)


def test_a_sum_of_positions_must_fit_32_bits() -> None:
    check_sum(8421504, "here")
    with pytest.raises(AccumulatorOverflow, match="8421505 positions can sum to 2147483775"):
        check_sum(8421505, "here")


def test_products_beyond_62_bits_are_refused() -> None:
    class Endless(ops.Linear):
        terms = 1 << 60  # type: ignore[assignment]

    op = Endless(weight(1, 1), np.zeros(1, np.int32), real(1))
    with pytest.raises(ProgramError, match="beyond"):
        check_total(op, [TensorSpec("x", (1,), UNIT)], TensorSpec("y", (1,), UNIT))
    check_total(linear(weight(1, 1)), [TensorSpec("x", (1,), UNIT)], TensorSpec("y", (1,), UNIT))


def test_the_image_of_pooling_counts_only_windows_that_there_are() -> None:
    rules = ops.OPERATORS["AvgPool"]
    assert rules.image is not None
    x, y = TensorSpec("x", (3, 1), Affine(1.0, 0)), TensorSpec("y", (3, 1), Affine(1.0, 0))
    sums = Requantize(np.array([1.0, 1.0, 1.0], np.float32))
    ranges = [ChannelRanges(np.array([10]), np.array([20]))]
    padded = ops.AvgPool((3,), (1,), sums, (1, 1), count_include_pad=False)
    assert list(rules.image(padded, ranges, [x], y, "here")) == [IntRange(20, 60)]
    whole = ops.AvgPool((3,), (1,), sums)
    assert list(rules.image(whole, ranges, [x], y, "here")) == [IntRange(30, 60)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
def test_biases_are_of_int32_and_of_nothing_else(dtype: type[np.generic]) -> None:
    with pytest.raises(ProgramError, match="bias: 1-d int32 expected"):
        ops.Linear(weight(2, 1), np.zeros(2, dtype), real(2))  # type: ignore[arg-type]
