"""How far registers go, in a kernel's order: against every input of small layers, and in the bit-true simulator."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.doctor.diagnose import verdict
from oaq.doctor.registers import REGISTERS, RegisterModel, registers_named
from oaq.doctor.sums import OrderedLayer, laid_out, lane_members, lay, orders_of, reach, registers_of
from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    Accumulator,
    pure,
)
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8, WIDE_WEIGHT
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.reference import simulate

TINY = IntRange(0, 2)


def model(one: Accumulator, order: str = "flat", **fields: object) -> RegisterModel:
    return RegisterModel("m", one, one, (order,), "", "", weights=WIDE_WEIGHT, **fields)  # type: ignore[arg-type]


def linear(weight: np.ndarray, bias: int = 0) -> ops.Linear:
    outputs = len(weight)
    return ops.Linear(
        weight.astype(np.int16),
        np.full(outputs, bias, np.int32),
        Requantize.from_scales(np.full(outputs, 0.01, np.float32), "float32_half_even"),
    )


def conv(weight: np.ndarray, groups: int = 1, **geometry: object) -> ops.Conv2d:
    found = linear(weight.reshape(len(weight), -1))
    return ops.Conv2d(weight.astype(np.int16), found.bias, found.requantize, groups=groups, **geometry)  # type: ignore[arg-type]


def flat(terms: int, reach: IntRange = U8, zero: int = 0) -> TensorSpec:
    return TensorSpec("x", (terms,), Affine(1.0, zero), reach)


def every_register(laid: OrderedLayer, x: np.ndarray) -> list[int]:
    """What each register that has to fit is asked to hold for operands ``x`` (K',), computed product by product."""
    one, held = laid.accumulator, []
    for weight, start in zip(laid.weight, laid.start, strict=True):
        products = weight * x
        groups = [int(products[k : k + one.group].sum()) for k in range(0, len(products), one.group)]
        if one.group_overflow == "saturates":
            held += groups
        lanes: dict[tuple[int, int], list[int]] = {}
        for index, value in enumerate(groups):
            run = 0 if one.max_run is None else index * one.group // (one.step * one.max_run)
            lanes.setdefault((run, index % one.lanes), []).append(value)
        for values in lanes.values():
            if one.overflow == "wraps":
                held.append(sum(values))
                continue
            subsets = [sum(part) for size in range(len(values) + 1) for part in itertools.combinations(values, size)]
            held += subsets
            if one.is_exact:
                held += [int(start) + value for value in subsets]
    return held


SMALL = (
    AVX2_ACC32,
    AVX2_ACC16,
    DEPTHWISE_ACC16,
    pure(5),
    pure(6, "saturates"),
    EXACT_S32,
    Accumulator("run2", 6, "wraps", step=2, group=1, lanes=2, max_run=2),
    Accumulator("odd", 6, "wraps", step=2, group=2, group_overflow="saturates", lanes=2),
)


@given(
    st.sampled_from(SMALL),
    st.lists(st.integers(-127, 127), min_size=1, max_size=5),
    st.integers(-50, 50),
    st.sampled_from((TINY, IntRange(1, 2), IntRange(0, 1))),
    st.sampled_from((0, 2)),
)
def test_the_ends_are_those_of_every_input(
    one: Accumulator, weights: list[int], bias: int, operands: IntRange, shift: int
) -> None:
    spec = flat(len(weights), operands, operands.lo)
    laid = lay(linear(np.array([weights]), bias), spec, model(one, shift=shift), "flat")
    real = laid.place >= 0
    held = []
    for x in itertools.product(range(operands.lo, operands.hi + 1), repeat=len(weights)):
        loaded = np.where(real, np.array(x)[laid.place] - shift, 0)
        held += every_register(laid, loaded)
    found = reach(laid)
    assert (int(found.lo[0]), int(found.hi[0])) == (min(held), max(held))
    fits = one.range.lo <= min(held) and max(held) <= one.range.hi
    assert bool(found.safe[0]) == fits
    assert found.runs[0] == 1 if fits else found.runs[0] != 1


@given(
    st.sampled_from((AVX2_ACC32, AVX2_ACC16, NEON_ACC16, NEON_MLAL_PAIR, pure(16), EXACT_S32)),
    st.integers(0, 2**32 - 1),
)
def test_safe_is_what_the_simulated_register_does_at_the_worst_inputs(one: Accumulator, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (3, int(rng.integers(1, 40)))) * (rng.random((3, 1)) < 0.7) // rng.integers(1, 5)
    shift = 128 if one in (NEON_ACC16, NEON_MLAL_PAIR) else 0
    laid = lay(linear(weight), flat(weight.shape[1]), model(one, shift=shift), "flat")
    found = reach(laid)
    wrong = np.zeros(3, np.bool_)
    for bounds in found.registers:
        for members in bounds.cells.members:
            inside = members[members >= 0]
            for n in range(3):
                for push in (1, -1):
                    x = laid.lo.copy()
                    up = laid.weight[n, inside] * push > 0
                    x[inside] = np.where(up, laid.hi[inside], laid.lo[inside])
                    wrong[n] |= not is_exact(laid, n, x)
    np.testing.assert_array_equal(~wrong, found.safe)


def is_exact(laid: OrderedLayer, output: int, x: np.ndarray) -> bool:
    """Whether the simulated hardware gets this output's sum right, or at least every lane it spills."""
    steps = len(x) // laid.accumulator.step
    run = laid.accumulator.max_run or steps
    segments = np.array([(0, first, min(run, steps - first)) for first in range(0, steps, run)])
    packed = laid.weight[output].reshape(steps, 1, -1)
    done = simulate(laid.accumulator, x[None, None], segments, packed, 1)
    return not (done.group_overflows.any() or done.wrong_lanes.any())


def test_pairs_of_a_first_layer_end_with_its_tap() -> None:
    op = conv(np.ones((1, 2, 2, 3)))
    spec = TensorSpec("x", (4, 4, 3), Affine(1.0, 0), U8)
    taps, plain = (lay(op, spec, model(AVX2_ACC32), order) for order in ("taps", "flat"))
    assert taps.place.reshape(-1, 4).tolist() == [[0, 1, 2, -1], [3, 4, 5, -1], [6, 7, 8, -1], [9, 10, 11, -1]]
    assert plain.place.tolist() == list(range(12))


def test_rows_and_columns_of_a_single_channel() -> None:
    op = conv(np.ones((1, 2, 3, 1)))
    spec = TensorSpec("x", (4, 4, 1), Affine(1.0, 0), U8)
    rows, columns = (lay(op, spec, model(AVX2_ACC32), order) for order in ("rows", "columns"))
    assert rows.place.tolist() == [0, 1, 2, -1, 3, 4, 5, -1]
    assert columns.place.tolist() == [0, 3, 1, 4, 2, 5, -1, -1]


def test_an_even_number_of_channels_makes_both_orders_of_pairs_one() -> None:
    (avx2,) = registers_named(("avx2-acc32",))
    assert orders_of(conv(np.ones((1, 3, 3, 8))), avx2) == ("taps",)
    assert orders_of(conv(np.ones((1, 3, 3, 6))), avx2) == ("taps",)
    assert orders_of(conv(np.ones((1, 3, 3, 3))), avx2) == ("taps", "flat")
    assert orders_of(conv(np.ones((4, 3, 3, 1)), groups=2), avx2) == ("taps", "flat", "rows", "columns")
    assert orders_of(linear(np.ones((1, 7))), avx2) == ("taps",)


def test_depthwise_layers_are_exact_where_kernels_widen_them() -> None:
    op = conv(np.full((4, 3, 3, 1), 127), groups=4)
    spec = TensorSpec("x", (8, 8, 4), Affine(1.0, 0), U8)
    safe = {one.name: bool(all(reach(laid).safe.all() for laid in laid_out(op, spec, one))) for one in REGISTERS}
    assert safe["avx2-acc32"]
    assert safe["avx512bw"]
    assert not safe["avx2-fbgemm"]
    assert not safe["avx2-acc16"]


@pytest.mark.parametrize("unsigned", [False, True])
def test_weights_the_instruction_cannot_multiply_are_summed_in_s32(unsigned: bool) -> None:
    (avx2,) = registers_named(("avx2-acc32",))
    wide, narrow = linear(np.full((1, 4), 200)), linear(np.full((1, 4), 127))
    assert laid_out(wide, flat(4), avx2, unsigned=unsigned)[0].accumulator == EXACT_S32
    assert (laid_out(narrow, flat(4), avx2, unsigned=unsigned)[0].accumulator == EXACT_S32) == unsigned


def test_padding_is_loaded_as_zero_or_as_the_zero_point() -> None:
    op = conv(np.ones((1, 3, 3, 4)), padding=(1, 1, 1, 1))
    spec = TensorSpec("x", (4, 4, 4), Affine(1.0, 60), IntRange(50, 70))
    raw, shifted = lay(op, spec, model(AVX2_ACC32), "flat"), lay(op, spec, model(NEON_ACC16, shift=128), "flat")
    middle = slice(16, 20)  # the one tap that never reads padding
    assert (raw.lo[middle].min(), raw.lo[:16].max()) == (50, 0)
    assert (shifted.lo[middle].min(), shifted.hi[middle].max()) == (-78, -58)
    assert (shifted.lo[:16].max(), shifted.hi[:16].min()) == (-78, 0)


def test_large_layers_are_bounded_in_parts_and_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).integers(-127, 128, (37, 50))
    laid = lay(linear(weight), flat(50), model(AVX2_ACC16), "flat")
    whole = reach(laid)
    monkeypatch.setattr("oaq.doctor.sums.AT_ONCE", 200)
    parts = reach(laid)
    for name in ("lo", "hi", "safe", "runs"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    np.testing.assert_array_equal(whole.registers[1].outside, parts.registers[1].outside)


def test_runs_are_the_fewest_that_fit_and_none_where_one_instruction_does_not() -> None:
    # Lane 0 holds products 0, 1 of every quad: 100 * 255 fits once, not twice.
    laid = lay(linear(np.array([[100, 0, 0, 0] * 3, [127, 127, 0, 0] * 3])), flat(12), model(AVX2_ACC16), "flat")
    assert reach(laid).runs.tolist() == [3, -1]


def test_every_lane_of_every_run_has_its_groups() -> None:
    pair = Accumulator("two", 16, "wraps", step=4, group=2, lanes=2, max_run=2)
    assert lane_members(pair, 12).tolist() == [[0, 2], [1, 3], [4, -1], [5, -1]]


def wide_layer(bias: int) -> ops.Conv2d:
    op = conv(np.full((2, 3, 3, 4), 30))
    return replace(op, bias=np.array([bias, 5], np.int32))


@pytest.mark.parametrize("name", [*(one.name for one in REGISTERS), "20 bits", "32 bits"])
def test_every_model_ends_in_32_bits_that_hold_the_bias_too(name: str) -> None:
    (named,) = registers_named((name,))
    spec = TensorSpec("x", (8, 8, 4), Affine(0.02, 0), U8)
    most = 36 * 30 * 255
    for bias, safe in ((2**31 - 1 - most, True), (2**31 - most, False), (-(2**31), True)):
        op = wide_layer(bias)
        wide = registers_of(op, spec, named)[-1]
        assert wide.accumulator == EXACT_S32
        assert reach(wide).safe.tolist() == [safe, True]
        assert verdict(op, spec, named).total_safe.tolist() == [safe, True]
        assert safe or not verdict(op, spec, named).safe[0]


@given(st.sampled_from(REGISTERS), st.integers(0, 2**32 - 1))
def test_what_is_unsafe_in_32_bits_alone_is_unsafe_on_every_model(model: RegisterModel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    op = replace(
        conv(rng.integers(-127, 128, (4, 2, 2, 3))),
        bias=rng.choice([0, 2**31 - 1, -(2**31), 2**31 - 200_000], 4).astype(np.int32),
    )
    lo, zero, hi = (int(end) for end in np.sort(rng.integers(0, 256, 3)))
    spec = TensorSpec("x", (4, 4, 3), Affine(1.0, zero), IntRange(lo, hi))
    exact, narrow = verdict(op, spec, registers_named(("vnni",))[0]), verdict(op, spec, model)
    if model.shift == 0:
        np.testing.assert_array_equal(narrow.total_safe, exact.safe)
    assert not narrow.safe[~narrow.total_safe].any()
