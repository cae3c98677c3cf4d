"""Roundings that look at data, and bits by hand: bounds are kept exactly, and looking pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oaq.capture.graph import FloatConv2d, FloatGraph
from oaq.choose.bound import Bound, clipped, coarsened
from oaq.choose.covariance import sum_errors
from oaq.choose.feedback import error_feedback, fed_back_at, feedback_gain, soft_threshold
from oaq.choose.round import packed_rows, whole_scale
from oaq.choose.target import Target, cell_sums, make_cells
from oaq.errors import CalibrationError, ConfigError
from oaq.numerics.formats import signed
from oaq.operators import Conv2d, Linear
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import apply_op, layers
from oaq.ptq.moments import DAMPING, measure_moments, operands
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize, quantize_with_report
from oaq.ptq.rounding import INFORMED, layer_data
from oaq.ptq.samples import chunks
from oaq.ptq.uniform import Uniform
from tests.ptq.nets import images, net
from tests.ptq.test_parts import graph


def rounded(
    how: str, rows: np.ndarray, scale: np.ndarray, kept: Bound, moments: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As ``quantize`` does where no scale has to move."""
    weight, found = INFORMED[how].begin(rows, scale, kept, layer_data(moments))
    return (INFORMED[how].at(rows, found, kept, layer_data(moments)) if INFORMED[how].is_last else weight), found


def correlated(generator: np.random.Generator, groups: int, terms: int) -> np.ndarray:
    """(G, K, K) covariance of operands that a third as many causes explain."""
    mix = generator.normal(size=(groups, terms, max(1, terms // 3)))
    found = mix @ mix.transpose(0, 2, 1)
    return found + 0.01 * np.einsum("gkk->gk", found).mean() * np.eye(terms)


def bound(outputs: int, terms: int, most: int, target: Target | None = None, clip: int = 127) -> Bound:
    budget = np.full(outputs, most, np.int64)
    return Bound(clip, make_cells(terms, target or Target("pure"), depthwise=False), budget, budget)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("groups", "kernel", "stride", "dilation"), [(1, 3, 1, 1), (2, (1, 3), 2, 1), (4, 3, 1, 2)])
def test_operands_times_packed_weights_are_the_sums(
    groups: int, kernel: int, stride: int, dilation: int, padding: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups)
    pads = (padding, padding, padding, padding)
    size = tuple(conv.weight.shape[2:])
    op = FloatConv2d(
        conv.weight.detach().numpy(),
        np.zeros(8, np.float32),
        (stride, stride),
        pads,
        (dilation, dilation),
        groups,
    )
    assert op.weight.shape[2:] == size
    x = torch.randn(2, 4, 9, 10)
    found = operands(op, x)
    rows = torch.from_numpy(packed_rows(op)).reshape(groups, -1, found.shape[2])
    sums = torch.einsum("gnk,gpk->pgn", rows, found).reshape(len(found[0]), 8)
    wanted = torch.nn.functional.conv2d(x, conv.weight, None, stride, padding, dilation, groups)
    torch.testing.assert_close(sums, wanted.permute(0, 2, 3, 1).reshape(-1, 8), rtol=1e-4, atol=1e-5)


def test_moments_say_what_an_error_of_the_weights_does_to_the_sums() -> None:
    one = graph()
    found = measure_moments(one, chunks(one, images()))
    for node, op in layers(one):
        assert isinstance(found[node.name], np.ndarray)
        rows = packed_rows(op).astype(np.float64)
        error = np.random.default_rng(1).normal(size=rows.shape)
        seen = [operands(op, values).double().numpy() for values in _inputs_of(one, node.inputs[0])]
        x = np.concatenate(seen, axis=1)
        grouped = error.reshape(len(x), -1, x.shape[2])
        measured = (grouped @ x.transpose(0, 2, 1)).var(axis=2).reshape(-1)
        spread = np.einsum("gkk->gk", x.transpose(0, 2, 1) @ x / x.shape[1] - _outer(x)).mean(axis=1)
        price = np.where(spread > 0, DAMPING * spread, 1.0)  # a group that saw only a constant: the identity
        damped = measured + (price[:, None] * np.square(grouped).sum(axis=2)).reshape(-1)
        np.testing.assert_allclose(sum_errors(error, found[node.name]), damped, rtol=1e-3)


def _outer(x: np.ndarray) -> np.ndarray:
    mean = x.mean(axis=1)
    return mean[:, :, None] * mean[:, None, :]


def _inputs_of(one: FloatGraph, name: str) -> list[torch.Tensor]:
    values = [dict(chunk) for chunk in chunks(one, images())]
    for chunk in values:
        for node in one.nodes:
            with torch.inference_mode():
                result = apply_op(node, [chunk[each] for each in node.inputs])
            chunk[node.output] = result if node.clamp is None else torch.clamp(result, *node.clamp)
    return [chunk[name] for chunk in values]


@pytest.mark.parametrize("how", INFORMED)
@pytest.mark.parametrize("target", [Target("pure"), Target("avx2"), Target("avx2", run=2), Target("neon")])
def test_a_bound_is_kept_exactly_and_nothing_gets_worse(how: str, target: Target) -> None:
    generator = np.random.default_rng(2)
    for most in (0, 1, 40, 300, 1 << 20):
        rows, moments = generator.normal(size=(6, 22)), correlated(generator, 1, 22)
        kept = bound(6, 22, most, target)
        weight, scale = rounded(how, rows, whole_scale(rows), kept, moments)
        assert kept.holds(weight).all()
        plain, coarse = coarsened(rows, whole_scale(rows), kept)
        best = sum_errors(plain * coarse[:, None] - rows, moments)
        assert (sum_errors(weight * scale[:, None] - rows, moments) <= best * (1 + 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), st.integers(0, 400),
    st.sampled_from([1, 7, 127]),
)  # fmt: skip
def test_error_feedback_keeps_any_bound(
    seed: int, groups: int, per_group: int, terms: int, most: int, clip: int
) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(groups * per_group, terms)) * generator.choice([0.0, 1.0, 1e-4, 1e4], (1, terms))
    kept = bound(len(rows), terms, most, Target("avx2"), clip)
    weight, _ = error_feedback(rows, whole_scale(rows, clip), kept, correlated(generator, groups, terms))
    assert kept.holds(weight).all()
    up, down = cell_sums(weight, kept.cells)
    assert max(up.max(), down.max()) <= most and np.abs(weight).max() <= clip


@pytest.mark.parametrize("how", INFORMED)
def test_looking_at_correlated_operands_pays(how: str) -> None:
    generator = np.random.default_rng(3)
    rows, moments = generator.normal(size=(16, 64)), correlated(generator, 1, 64)
    kept = bound(16, 64, 1 << 20, clip=7)
    scale = whole_scale(rows, 7)
    plain = sum_errors(clipped(rows, scale, 7) * scale[:, None] - rows, moments)
    weight, scale = rounded(how, rows, scale, kept, moments)
    assert sum_errors(weight * scale[:, None] - rows, moments).sum() < 0.5 * plain.sum()


@pytest.mark.parametrize("how", INFORMED)
@pytest.mark.parametrize("most", [0, 40, 1 << 20])
def test_weights_at_a_coarser_scale_keep_the_bound_and_are_no_worse_than_the_nearest(how: str, most: int) -> None:
    generator = np.random.default_rng(5)
    rows, moments = generator.normal(size=(8, 24)), correlated(generator, 1, 24)
    kept = bound(8, 24, most)
    _, scale = INFORMED[how].begin(rows, whole_scale(rows), kept, layer_data(moments))
    scale = scale * 1.013
    weight, plain = INFORMED[how].at(rows, scale, kept, layer_data(moments)), clipped(rows, scale, 127)
    assert kept.holds(weight).all()
    errors = [sum_errors(each * scale[:, None] - rows, moments) for each in (weight, plain)]
    assert (errors[0] <= errors[1] * (1 + 1e-12))[kept.holds(plain)].all()


def test_the_gain_of_feedback_is_what_it_reaches_without_budgets() -> None:
    generator = np.random.default_rng(6)
    rows, moments = generator.normal(size=(64, 48)), correlated(generator, 1, 48)
    kept, scale = bound(64, 48, 1 << 20), whole_scale(rows)
    errors = [
        sum_errors(each * scale[:, None] - rows, moments).sum()
        for each in (fed_back_at(rows, scale, kept, moments), clipped(rows, scale, 127))
    ]
    assert feedback_gain(moments) == pytest.approx(errors[0] / errors[1], rel=0.1)
    assert feedback_gain(np.eye(7)[None]) == pytest.approx(1.0)


def test_the_soft_threshold_is_the_projection_onto_the_budget() -> None:
    generator = np.random.default_rng(4)
    steps = generator.normal(size=(5, 12)) * 10
    kept = bound(5, 12, 20)
    theta = soft_threshold(steps, kept)
    projected = np.sign(steps) * np.maximum(np.abs(steps) - theta, 0.0)
    for sign in (1, -1):
        part, before = np.maximum(projected * sign, 0), np.maximum(steps * sign, 0)
        over = before.sum(axis=1) > 20
        np.testing.assert_allclose(part[over].sum(axis=1), 20)
        np.testing.assert_array_equal(part[~over], before[~over])
        for row, wide in zip(part[over], before[over], strict=True):
            for _ in range(50):  # no other point within the budget is nearer
                other = generator.dirichlet(np.ones(12)) * 20
                assert np.square(row - wide).sum() <= np.square(other - wide).sum() + 1e-9


def _whole_sums_fit(program: IntProgram, bits: int) -> bool:
    register = signed(bits)
    for node in program.summing_nodes():
        assert isinstance(node.op, Conv2d | Linear)
        rows = node.op.weight.reshape(len(node.op.weight), -1).astype(np.int64)
        most = program.tensors[node.inputs[0]].range.hi
        if (np.maximum(rows, 0).sum(axis=1) * most).max() > register.hi:
            return False
        if (np.minimum(rows, 0).sum(axis=1) * most).min() < register.lo:
            return False
    return True


@pytest.fixture
def few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn for a tenth of the time: what is kept is kept however far roundings are learned."""
    monkeypatch.setattr("oaq.ptq.adaround.ITERATIONS", 40)


@pytest.mark.usefixtures("few_iterations")
@pytest.mark.parametrize("rounding", ["nearest", "axe", "adaround"])
def test_bits_by_hand_keep_their_accumulator(rounding: str) -> None:
    uniform = Uniform(4, 5, Target("pure", 12), first_last_bits=None)
    program = quantize(net(), images(), rounding=rounding, uniform=uniform)
    assert _whole_sums_fit(program, 12)
    for node in program.summing_nodes():
        assert isinstance(node.op, Conv2d | Linear)
        assert np.abs(node.op.weight).max() <= 7
        assert program.tensors[node.inputs[0]].range.hi == 31


def test_first_and_last_layers_have_bits_of_their_own() -> None:
    program = quantize(net(), images(), uniform=Uniform(3, 3))
    nodes = list(program.summing_nodes())
    largest = [np.abs(node.op.weight).max() for node in nodes if isinstance(node.op, Conv2d | Linear)]
    assert largest[0] > 3 and largest[-1] > 3 and max(largest[1:-1]) == 3
    assert program.tensors[nodes[0].inputs[0]].range.hi == 255


@pytest.mark.usefixtures("few_iterations")
@pytest.mark.parametrize("rounding", ["axe", "adaround"])
@pytest.mark.parametrize("budget", [1.0, 1.2])
def test_roundings_that_look_at_data_keep_the_budget(rounding: str, budget: float) -> None:
    _, report = quantize_with_report(net(), images(), Options(budget=budget, rounding=rounding))  # type: ignore[arg-type]
    assert report.cost <= budget * (1 + 1e-9)


def test_long_sums_may_round_to_nearest_where_others_look_at_data() -> None:
    """Bits by hand settle everything but the rounding, so each layer is one of two."""
    uniform = Uniform(4, 5, Target("pure", 16), first_last_bits=None)
    everywhere, mixed, nowhere = (
        quantize(net(), images(), uniform=uniform, informed_terms=terms) for terms in (None, 40, 0)
    )
    nearest = quantize(net(), images(), uniform=uniform, rounding="nearest")
    looked_at = []
    for nodes in zip(*(program.summing_nodes() for program in (everywhere, mixed, nowhere, nearest)), strict=True):
        informed, of_mixed, of_nowhere, plain = (node.products.weight for node in nodes)
        looked_at.append(nodes[0].products.terms <= 40)
        assert np.array_equal(of_nowhere, plain)
        assert np.array_equal(of_mixed, informed if looked_at[-1] else plain)
    assert 0 < sum(looked_at) < len(looked_at)


def test_what_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(CalibrationError, match="informed_terms is a number of products"):
        Options(informed_terms=-1)
    with pytest.raises(CalibrationError, match="axe, adaround, nearest"):
        Options(rounding="stochastic")  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="weight_bits: 2 to 8"):
        Uniform(9)
    with pytest.raises(ConfigError, match="8 to 32 bits"):
        Target("pure", 7)
