"""Budgets of magnitudes against the doctor's exact bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.doctor import REGISTERS, RegisterModel, registers_named
from oaq.doctor.diagnose import verdict
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.repair.limits import limits_of

NARROW = [one for one in REGISTERS if not one.accumulator.is_exact and one.operands.hi == 255]


def conv(weight: np.ndarray, groups: int = 1) -> ops.Conv2d:
    outputs = len(weight)
    requantize = Requantize(np.full(outputs, 0.01, np.float32))
    return ops.Conv2d(weight.astype(np.int16), np.zeros(outputs, np.int32), requantize, groups=groups)


def image(channels: int, reach: IntRange, zero: int) -> TensorSpec:
    return TensorSpec("x", (8, 8, channels), Affine(1.0, zero), reach)


@st.composite
def layers(draw: st.DrawFn) -> tuple[ops.Conv2d, TensorSpec]:
    channels, kernel, groups = draw(st.sampled_from([(3, 3, 1), (5, 1, 1), (8, 2, 1), (1, 3, 1), (6, 3, 6), (6, 2, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.sampled_from([1, 20, 90, 127]))
    weight = rng.integers(-most, most + 1, (12, kernel, kernel, channels // groups))
    lo = draw(st.sampled_from([0, 0, 40]))
    reach = IntRange(lo, draw(st.sampled_from([255, 180, lo + 1])))
    return conv(weight, groups), image(channels, reach, draw(st.integers(reach.lo, reach.hi)))


@given(layers(), st.sampled_from([*NARROW, *registers_named(("14 bits", "20 bits"))]))
def test_weights_that_keep_their_limits_are_safe(layer: tuple[ops.Conv2d, TensorSpec], model: RegisterModel) -> None:
    op, spec = layer
    kept = limits_of(op, spec, model).holds(op.weight.reshape(12, -1).astype(np.int64))
    safe = verdict(op, spec, model).safe
    assert np.all(safe[kept])
    if model.shift in spec.range:  # operands may be 0: partial sums and whole ones have the same bound
        np.testing.assert_array_equal(kept, safe)


def test_a_pair_of_full_range_operands_holds_128_steps_at_both_ends() -> None:
    op = conv(np.array([[127, 1], [127, 2], [-127, -1], [-127, -2], [127, -127]]).reshape(5, 1, 1, 2))
    limits = limits_of(op, image(2, IntRange(0, 255), 0), registers_named(("avx2-acc32",))[0])
    assert limits.holds(op.weight.reshape(5, -1).astype(np.int64)).tolist() == [True, False, True, False, True]


def test_orders_that_pair_other_products_are_kept_at_once() -> None:
    weight = np.zeros((2, 3, 3, 3))
    weight.reshape(2, -1)[0, [2, 3]] = 127  # meet if products are counted over the window
    weight.reshape(2, -1)[1, [3, 4]] = 127  # meet if every tap begins anew
    op = conv(weight)
    limits = limits_of(op, image(3, IntRange(0, 255), 0), registers_named(("avx2-acc32",))[0])
    assert len(limits.families) == 2
    assert not limits.holds(op.weight.reshape(2, -1).astype(np.int64)).any()


@pytest.mark.parametrize(("name", "groups"), [("vnni", 1), ("avx2-acc32", 6)])
def test_exact_registers_limit_nothing(name: str, groups: int) -> None:
    op = conv(np.full((6, 3, 3, 6 // groups), 127), groups)
    limits = limits_of(op, image(6, IntRange(0, 255), 0), registers_named((name,))[0])
    assert limits.is_idle
    assert limits.holds(op.weight.reshape(6, -1).astype(np.int64)).all()
