"""Rounding inside budgets: against every possibility for small registers, and as properties of whole layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq.doctor import registers_named
from oaq.numerics.ranges import IntRange
from oaq.repair.channels import fitted
from oaq.repair.limits import Limits, limits_of
from oaq.repair.metric import Metric
from oaq.repair.rounding import rounded, shrunk
from tests.repair.test_limits import conv, image

MODELS = ("avx2-acc32", "avx2-fbgemm", "avx2-acc16", "neon-mlal-pair", "neon-acc16", "18 bits")


def squared(own: np.ndarray, magnitude: np.ndarray, wanted: np.ndarray) -> float:
    return float((own * (magnitude - wanted) ** 2).sum())


@given(st.integers(1, 3), st.integers(0, 2**32 - 1), st.sampled_from([1, 255, 180]))
def test_no_integers_inside_the_budget_of_equal_costs_are_nearer(width: int, seed: int, cost: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 12, (1, width))
    own = np.exp(rng.normal(0, 1, (1, width)))
    now = np.rint(wanted).astype(np.int64)
    budget = int(rng.integers(0, max(int(now.sum()) * cost, 1)))
    found = shrunk(now, wanted, np.full((1, width), cost), own, budget)
    assert np.all((found >= 0) & (found <= now))
    assert int(found.sum()) * cost <= budget
    every = itertools.product(*(range(int(most) + 1) for most in now[0]))
    best = min(squared(own, np.array(one), wanted) for one in every if sum(one) * cost <= budget)
    if width <= 2 or np.ptp(own) == 0:
        assert squared(own, found, wanted) <= best * (1 + 1e-9) + 1e-9
    else:  # the projection is rounded down before what is left is given out: within one exchange of the best
        assert squared(own, found, wanted) <= best + 2 * own.max()


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_unequal_costs_keep_the_budget_and_leave_no_step_that_would_pay(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 127, (1, width))
    now = np.rint(wanted).astype(np.int64)
    cost = rng.integers(0, 256, (1, width))
    budget = int((now * cost).sum()) // 2
    found = shrunk(now, wanted, cost, np.ones((1, width)), budget)
    assert np.all((found >= 0) & (found <= now))
    assert int((found * cost).sum()) <= budget
    np.testing.assert_array_equal(found[cost == 0], now[cost == 0])


@st.composite
def unsafe_layers(draw: st.DrawFn) -> tuple[np.ndarray, Limits, Metric]:
    channels, kernel = draw(st.sampled_from([(3, 3), (8, 1), (5, 2), (33, 1)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = rng.integers(-127, 128, (6, kernel, kernel, channels))
    op = conv(weight)
    reach = draw(st.sampled_from([IntRange(0, 255), IntRange(0, 180), IntRange(10, 240)]))
    model = registers_named((draw(st.sampled_from(MODELS)),))[0]
    limits = limits_of(op, image(channels, reach, reach.lo), model)
    flat = weight.reshape(6, -1).astype(np.int64)
    own = np.exp(rng.normal(0, draw(st.sampled_from([0.0, 1.0])), flat.shape))
    common = np.sqrt(own) * rng.uniform(-1, 2, flat.shape) * draw(st.sampled_from([0.0, 1.0]))
    return flat, limits, Metric(own, common)


@given(unsafe_layers(), st.booleans())
def test_whatever_the_registers_what_is_fitted_keeps_its_limits(
    layer: tuple[np.ndarray, Limits, Metric], rescales: bool
) -> None:
    weight, limits, metric = layer
    found = fitted(weight, limits, metric, rescales=rescales)
    assert limits.holds(found.weight).all()
    assert np.all(found.factor >= 1) and (rescales or np.all(found.factor == 1))
    error = found.weight * found.factor[:, None] - weight
    np.testing.assert_allclose(found.error, metric.errors(error))


@given(unsafe_layers())
def test_a_coarser_scale_is_taken_only_where_it_is_nearer(layer: tuple[np.ndarray, Limits, Metric]) -> None:
    weight, limits, metric = layer
    free, bound = (fitted(weight, limits, metric, rescales=rescales) for rescales in (True, False))
    plain = metric.independent()
    independent = [fitted(weight, limits, plain, rescales=rescales).error for rescales in (True, False)]
    assert np.all(independent[0] <= independent[1])
    same = free.factor == 1
    np.testing.assert_array_equal(free.weight[same], bound.weight[same])


@given(unsafe_layers())
def test_weights_that_fit_are_left_alone(layer: tuple[np.ndarray, Limits, Metric]) -> None:
    weight, limits, metric = layer
    inside = fitted(weight, limits, metric, rescales=True).weight
    again = fitted(inside, limits, metric, rescales=True)
    np.testing.assert_array_equal(again.weight, inside)
    np.testing.assert_array_equal(again.factor, 1.0)


@given(unsafe_layers())
def test_balancing_never_makes_an_error_larger(layer: tuple[np.ndarray, Limits, Metric]) -> None:
    weight, limits, metric = layer
    steps = weight / 1.37
    with_it = rounded(steps, limits, metric)
    without = rounded(steps, limits, metric.independent())
    assert limits.holds(with_it).all() and limits.holds(without).all()
    before, after = (metric.errors(one - steps) for one in (without, with_it))
    assert np.all(after <= before * (1 + 1e-9) + 1e-9)


def test_balancing_moves_weights_that_have_room_to_make_up_for_those_that_lost() -> None:
    weight = np.array([[127, 127, *[20] * 30]])
    op = conv(weight.reshape(1, 1, 1, 32))
    limits = limits_of(op, image(32, IntRange(0, 255), 0), registers_named(("avx2-acc32",))[0])
    metric = Metric(np.ones((1, 32)), np.ones((1, 32)))
    found = rounded(weight.astype(float), limits, metric)
    assert found[0, :2].tolist() == [64, 64]
    assert int(found.sum()) > int(weight.sum()) - 126 + 25


@pytest.mark.parametrize("terms", [1, 2])
def test_a_layer_of_one_or_two_products_is_fitted_too(terms: int) -> None:
    weight = np.full((1, terms), 127)
    limits = limits_of(conv(weight.reshape(1, 1, 1, terms)), image(terms, IntRange(0, 255), 0),
                       registers_named(("10 bits",))[0])  # fmt: skip
    found = fitted(weight, limits, Metric(np.ones((1, terms)), np.zeros((1, terms))), rescales=False)
    assert found.weight.tolist() == [[2] if terms == 1 else [1, 1]]
