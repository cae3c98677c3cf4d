"""Budgets are kept by exact integers, whatever floats do; gradients are what is declared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from oaq.choose.target import Target, cell_sums, keeps, make_cells
from oaq.numerics.accumulator import AVX2_ACC16
from oaq.numerics.cells import lane_of
from oaq.overflow.bounds import weight_bound
from oaq.ptq.device_cells import on_device
from oaq.qat.constrain import budgeted_round, norm_bounded, norm_limit, project
from oaq.qat.gradients import replaced, round_through, truncate_through


def rows(seed: int, shape: tuple[int, int], size: float, kind: str) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    match kind:
        case "even":
            values = np.full(shape, size)
        case "halves":
            values = np.round(rng.normal(0, size, shape)) + 0.5
        case "one":
            values = np.zeros(shape)
            values[:, seed % shape[1]] = size * 100
        case "tiny":
            values = rng.normal(0, 1e-42, shape)  # below the least normal float32
        case "huge":
            values = rng.normal(0, 1e30, shape)
        case _:
            values = rng.normal(0, size, shape)
    return torch.from_numpy(values.astype(np.float32))


KINDS = ("normal", "even", "halves", "one", "tiny", "huge")
DRAWN = {
    "seed": st.integers(0, 999),
    "width": st.integers(1, 300),
    "size": st.sampled_from((0.3, 1.0, 7.0, 60.0, 126.99999)),
    "kind": st.sampled_from(KINDS),
}


@given(**DRAWN, up=st.integers(0, 4000), down=st.integers(0, 4000))
@example(seed=0, width=1, size=0.3, kind="one", up=0, down=0)
@example(seed=0, width=257, size=0.3, kind="even", up=128, down=128)
def test_budgeted_rounding_keeps_both_budgets(
    seed: int, width: int, size: float, kind: str, up: int, down: int
) -> None:
    x = rows(seed, (4, width), size, kind).clamp(-127, 127)
    steps = budgeted_round(project(x, up, down), up, down).numpy()
    assert np.array_equal(steps, np.rint(steps))
    exact = steps.astype(np.int64)
    assert (np.maximum(exact, 0).sum(axis=1) <= up).all()
    assert (np.maximum(-exact, 0).sum(axis=1) <= down).all()
    assert (exact * np.sign(x.numpy()) >= 0).all()


@given(**DRAWN)
def test_budgeted_rounding_is_rounding_where_the_budget_lasts(seed: int, width: int, size: float, kind: str) -> None:
    x = rows(seed, (4, width), size, kind).clamp(-127, 127)
    assert torch.equal(budgeted_round(x, 1 << 20, 1 << 20), torch.round(x))
    assert torch.equal(project(x, 1 << 20, 1 << 20), x)


def test_what_is_nearest_to_the_next_integer_is_rounded_up_first() -> None:
    x = torch.tensor([[1.6, 2.9, 0.7, -0.6, -0.9]])
    assert budgeted_round(x, 5, 1).tolist() == [[1.0, 3.0, 1.0, 0.0, -1.0]]


def test_rounding_without_projection_still_keeps_the_budget() -> None:
    x = torch.tensor([[5.0, 5.0, 5.0], [0.9, 0.9, 0.9]])
    assert budgeted_round(x, 7, 0).sum(dim=1).tolist() == [7.0, 3.0]


@given(seed=st.integers(0, 99), budget=st.integers(1, 50))
def test_projection_is_the_nearest_point_of_the_ball(seed: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(0, 5, (1, 20))).abs()
    found = project(x, budget, 0)
    assert float(found.sum()) <= budget * (1 + 1e-9)
    distance = float((found - x).square().sum())
    for _ in range(20):
        other = torch.from_numpy(rng.dirichlet(np.ones(20))[None] * budget)
        assert float((other - x).square().sum()) >= distance - 1e-9


def test_the_gradient_of_the_projection_is_its_derivative_where_it_has_one() -> None:
    torch.manual_seed(1)
    x = (torch.randn(3, 12, dtype=torch.float64) * 4).requires_grad_()
    active = (project(x, 9, 7).detach() != 0) | (x.detach().abs().sum(dim=1, keepdim=True) < 7)
    weights = torch.randn(3, 12, dtype=torch.float64) * active
    (gradient,) = torch.autograd.grad((project(x, 9, 7) * weights).sum(), x)
    step = 1e-6
    for row in range(3):
        for column in range(12):
            if not active[row, column]:
                continue
            moved = torch.zeros_like(x)
            moved[row, column] = step
            with torch.no_grad():
                slope = ((project(x + moved, 9, 7) - project(x - moved, 9, 7)) * weights).sum() / (2 * step)
            assert float(gradient[row, column]) == pytest.approx(float(slope), abs=1e-6)


def test_a_weight_at_zero_gets_the_gradient_that_would_bring_it_back() -> None:
    x = torch.tensor([[4.0, 4.0, 0.0, -1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad((project(x, 4, 9) * torch.tensor([[1.0, 3.0, 7.0, 5.0]])).sum(), x)
    assert gradient.tolist() == [[-1.0, 1.0, 5.0, 5.0]]


@given(
    **DRAWN,
    bits=st.integers(9, 32),
    operand_bits=st.integers(1, 8),
    method=st.sampled_from(("a2q", "a2q+")),
    scale=st.sampled_from((1e-6, 0.01, 1.0, 3.0)),
)
def test_norms_keep_every_sum_in_its_register(
    seed: int, width: int, size: float, kind: str, bits: int, operand_bits: int, method: str, scale: float
) -> None:
    x_hi = (1 << operand_bits) - 1
    limit = norm_limit(method, bits, x_hi)
    v = rows(seed, (3, width), size, kind)
    s = torch.full((3,), scale)
    for g in (torch.full((3,), 1e30), s * limit, s * limit * 0.3):
        steps = norm_bounded(v, g, s, limit=limit, clip=127, method=method).numpy().astype(np.int64)
        ends = np.zeros(width, np.int64), np.full(width, x_hi, np.int64)
        reach = weight_bound(steps, *ends, partial=True)
        assert reach.lo.min() >= -(1 << (bits - 1))
        assert reach.hi.max() <= (1 << (bits - 1)) - 1


def test_a2q_plus_allows_twice_the_norm() -> None:
    assert norm_limit("a2q", 16, 255) == 32767 / 256
    assert norm_limit("a2q+", 16, 255) == 65534 / 255


@given(
    terms=st.integers(1, 200),
    run=st.none() | st.integers(1, 9),
    register=st.sampled_from(("pure", "avx2", "neon")),
    depthwise=st.booleans(),
)
def test_every_product_is_in_one_cell_and_cells_are_the_lanes_of_the_register(
    terms: int, run: int | None, register: str, depthwise: bool
) -> None:
    target = Target(register, 16, run)  # type: ignore[arg-type]
    cells = make_cells(terms, target, depthwise=depthwise)
    model = target.accumulator(depthwise=depthwise)
    assert np.array_equal(np.sort(cells.members[cells.members >= 0]), np.arange(terms))
    for cell in cells.members:
        own = cell[cell >= 0]
        assert len({lane_of(model, int(k)) for k in own}) == 1
        assert run is None or len({int(k) // (model.step * run) for k in own}) == 1
    x = torch.arange(1.0, 3 * terms + 1).reshape(3, terms)
    tensors = on_device(cells, x.device)
    assert torch.equal(tensors.scatter(tensors.gather(x)), x)
    up, down = cell_sums(x.numpy().astype(np.int64), cells)
    assert np.array_equal(up.sum(axis=1), x.sum(dim=1).numpy().astype(np.int64))
    assert not down.any()


def test_budgets_are_the_bound_itself() -> None:
    target = Target("avx2")
    cells = make_cells(4, target, depthwise=False)
    fits, over = np.array([[64, 64, -64, -64]]), np.array([[65, 64, 0, 0]])
    assert target.budgets(255) == (128, 128)
    assert keeps(fits, cells, (128, 128)).all()
    assert not keeps(over, cells, (128, 128)).any()
    assert 255 * 128 <= AVX2_ACC16.range.hi < 255 * 129
    assert AVX2_ACC16.range.lo <= -255 * 128


def test_rounding_truncating_and_replacing_are_straight_through() -> None:
    x = torch.tensor([0.5, 1.5, -0.4, 2.6], requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for function, wanted in (
        (round_through, [0.0, 2.0, -0.0, 3.0]),
        (truncate_through, [0.0, 1.0, -0.0, 2.0]),
        (lambda each: replaced(each, torch.tensor([9.0, 8.0, 7.0, 6.0])), [9.0, 8.0, 7.0, 6.0]),
    ):
        y = function(x)
        assert y.tolist() == wanted
        (gradient,) = torch.autograd.grad((y * weight).sum(), x)
        assert torch.equal(gradient, weight)
