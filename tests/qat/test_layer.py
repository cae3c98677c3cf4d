"""What parameters feel: gradients as published or as derived, compared with formulas and with finite differences."""

from __future__ import annotations

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from oaq.capture.graph import TensorParams
from oaq.choose.target import Target
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.qat import QatNetwork, constrain, prepare
from oaq.qat.constrain import norm_bounded
from oaq.qat.grid import Grid, TensorQuantizer
from oaq.qat.laws import real_inputs
from oaq.qat.layer import EPS, MOMENTUM
from tests.qat.nets import batch, config, net_graph

X = torch.tensor([[-3.0, -0.9, -0.26, 0.0, 0.2, 0.74, 1.3, 9.0]])
UP = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]])


def quantizer(learned: bool = True) -> TensorQuantizer:
    params = TensorParams(Affine(0.5, 3), IntRange(0, 15))
    return TensorQuantizer(params, (-1.5, 6.0), learned=learned)


def test_a_learned_scale_has_the_gradient_of_lsq() -> None:
    one = quantizer()
    grid = one.grid()
    y = grid.rounded(real_inputs(X, grid)) * grid.scale
    assert one.log_scale is not None
    (found,) = torch.autograd.grad((y * UP).sum(), one.log_scale)
    steps = X / 0.5
    inside = (steps.round() >= -3) & (steps.round() <= 12)
    each = torch.where(inside, steps.round() - steps, steps.round().clamp(-3, 12))
    assert float(found) == pytest.approx(float((each * UP).sum()) * 0.5 * log(2.0), rel=1e-6)


def test_what_is_clamped_feels_nothing_and_what_is_rounded_feels_everything() -> None:
    grid, x = quantizer().grid(), X.clone().requires_grad_()
    y = grid.rounded(real_inputs(x, grid)) * grid.scale
    (found,) = torch.autograd.grad((y * UP).sum(), x)
    assert found.tolist() == [[0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0]]


def test_ranges_that_follow_the_data_are_averages_that_hold_zero() -> None:
    one = quantizer(learned=False)
    one.observe(torch.tensor([1.0, 16.0]))
    assert one.ends.tolist() == pytest.approx([-1.35, 7.0])
    for _ in range(200):
        one.observe(torch.tensor([1.0, 2.0]))
    assert one.ends.tolist() == pytest.approx([0.0, 2.0], abs=1e-8)
    assert one.grid().zero_point == 0


def test_fewer_steps_keep_the_real_range() -> None:
    one = quantizer()
    before = one.grid()
    one.set_steps(7)
    after = one.grid()
    assert float(after.scale.detach()) * 7 == pytest.approx(float(before.scale.detach()) * 15)
    assert (after.range, after.zero_point) == (IntRange(0, 7), 1)


def linear(method: str = "none", **changes: object) -> tuple[QatNetwork, Grid]:
    made = nn.Sequential(nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        made[0].weight.copy_(torch.cat([X, X.flip(1) * 0.3]))  # type: ignore[operator]
        made[0].bias.copy_(torch.tensor([0.5, -0.25]))  # type: ignore[operator]
    calibration = torch.cat([torch.rand(3, 8), torch.ones(1, 8)])  # no input of these tests lies outside the range seen
    network = prepare(made, calibration, config(method, **changes))
    return network, network.grids()[network.graph.inputs[0]]


def test_the_scales_of_weights_have_the_gradient_of_lsq() -> None:
    network, grid = linear(weight_bits=4, first_last_bits=None)
    layer = network.layer["0"]
    assert layer.log_scale is not None
    with torch.no_grad():
        layer.log_scale.copy_(torch.tensor([0.4, 0.1]).log2())
    numbers = layer.numbers(grid)
    weight, scale = layer.weight.detach(), numbers.scale.detach()[:, None]
    (found,) = torch.autograd.grad((numbers.rows * numbers.scale[:, None] * UP).sum(), layer.log_scale)
    steps = weight / scale
    each = torch.where(steps.abs() <= 7, steps.round() - steps, steps.sign() * 7)
    assert torch.allclose(found, (each * UP).sum(dim=1) * scale[:, 0] * log(2.0), rtol=1e-5)


def test_inputs_weights_and_bias_have_those_of_the_real_layer() -> None:
    network, grid = linear()
    layer = network.layer["0"]
    y = Grid(torch.tensor(0.05), 100, IntRange(0, 255))
    x = torch.tensor([[0.1, 0.9, 0.3, 0.5, 0.2, 0.7, 0.4, 0.6]], requires_grad=True)
    real = layer(grid.rounded(real_inputs(x, grid)), grid, y) * y.scale
    up = torch.tensor([[2.0, -3.0]])
    of_x, of_weight, of_bias = torch.autograd.grad((real * up).sum(), (x, layer.weight, layer.bias))
    numbers = layer.numbers(grid)
    meant = numbers.rows.detach() * numbers.scale.detach()[:, None]
    seen = grid.rounded(real_inputs(x.detach(), grid)) * grid.scale
    assert torch.allclose(of_x, up @ meant, rtol=1e-5)
    assert torch.allclose(of_weight, up.T @ seen, rtol=1e-5, atol=1e-6)
    assert torch.allclose(of_bias, up[0])
    assert torch.allclose(real, seen @ meant.T + layer.bias, atol=1e-3)


@pytest.mark.parametrize("method", ["a2q", "a2q+"])
def test_the_norm_constraint_has_its_own_derivative(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constrain, "truncate_through", lambda x: x)  # whose derivative is declared, not its own
    torch.manual_seed(0)
    rows = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    scale = (torch.rand(3, dtype=torch.float64) + 0.5).requires_grad_()
    for size in (20.0, 500.0):  # within its limit, and beyond it
        norm = (torch.rand(3, dtype=torch.float64) * size + size).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda v, g, s: norm_bounded(v, g, s, limit=90.0, clip=127, method=method), (rows, norm, scale)
        )


def test_the_penalty_is_what_norms_exceed_their_limit_by() -> None:
    network, grid = linear("a2q", target=Target("pure", 14))
    layer = network.layer["0"]
    assert layer.log_norm is not None
    assert layer.log_scale is not None
    limit = (2**13 - 1) / 256
    with torch.no_grad():
        layer.log_scale.zero_()
        layer.log_norm.copy_(torch.log2(torch.tensor([limit + 5.0, limit - 1.0])))
    assert float(layer.penalty(grid).detach()) == pytest.approx(5.0, rel=1e-4)
    (found,) = torch.autograd.grad(layer.penalty(grid), layer.log_norm)
    assert found[1] == 0.0
    assert float(found[0]) == pytest.approx((limit + 5.0) * 0.6931472, rel=1e-4)


def test_batches_are_normalized_as_batch_norm_does() -> None:
    network = prepare(net_graph(nn.ReLU), batch(), config("none", batch_norm="reestimate"))
    node = next(each for each in network.graph.nodes if each.name == "3")
    layer, grids = network.layer["3"], network.grids()
    grid, y = grids[node.inputs[0]], grids[node.output]
    x = torch.randint(0, 200, (4, layer.weight.shape[1], 5, 5)).float() - grid.zero_point
    assert layer.gain is not None
    layer.train()
    mean, variance = layer.mean.clone(), layer.variance.clone()
    found = layer(x, grid, y) * y.scale.detach()
    up = torch.randn(found.shape)
    mine = torch.autograd.grad((found * up).sum(), (layer.gain, layer.bias, layer.weight))
    layer.mean.copy_(mean)
    layer.variance.copy_(variance)
    numbers = layer.numbers(grid)
    folded = layer.gain.detach().abs() / torch.sqrt(variance + EPS)
    weight = layer.unpacked(numbers.rows) * (numbers.scale.detach() / folded).reshape(-1, 1, 1, 1)
    real = F.conv2d(x * grid.scale.detach(), weight)
    wanted = F.batch_norm(real, mean, variance, layer.gain, layer.bias, training=True, momentum=MOMENTUM, eps=EPS)
    theirs = torch.autograd.grad((wanted * up).sum(), (layer.gain, layer.bias, layer.weight))
    assert torch.allclose(found, wanted, atol=1e-4)
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
