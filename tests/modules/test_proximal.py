"""Averages of proximal operators: their formulas, gradients, and the tables a network with them is captured with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq.capture.from_torch import normalize
from oaq.capture.polyline import Polyline
from oaq.errors import ConfigError, UnsupportedOp
from oaq.modules import ProximalAverage
from oaq.modules.proximal import PENALTIES, inverse_softplus, removed_by
from oaq.operators import ChannelLookup
from oaq.ptq.execute import run_graph

Penalty = Literal["soft", "firm", "scad"]


def penalty_of(name: Penalty, z: np.ndarray, level: float, ratio: float) -> np.ndarray:
    """The penalty at z, by its definition."""
    size = np.abs(z)
    if name == "soft":
        return level * size
    if name == "firm":
        return np.where(size <= ratio * level, level * size - z**2 / (2 * ratio), ratio * level**2 / 2)
    middle = (2 * ratio * level * size - z**2 - level**2) / (2 * (ratio - 1))
    outside = np.full_like(z, level**2 * (ratio + 1) / 2)
    return np.where(size <= level, level * size, np.where(size <= ratio * level, middle, outside))


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("c", [-9.0, -2.0, -0.7, -0.3, 0.0, 0.6, 1.4, 1.8, 2.2, 2.6, 5.0])
def test_what_is_removed_leaves_the_minimum_of_the_penalty(name: Penalty, c: float) -> None:
    z, level, ratio = np.linspace(-10, 10, 400001), 0.7, 2.5 if name == "firm" else 3.7
    minimum = z[np.argmin(0.5 * (z - c) ** 2 + penalty_of(name, z, level, ratio))]
    assert c - removed_by(name, np.array(c), level, ratio) == pytest.approx(minimum, abs=1e-4)


def random_average(channels: int, penalties: tuple[Penalty, ...] = PENALTIES, residual: bool = True) -> ProximalAverage:
    torch.manual_seed(3)
    module = ProximalAverage(channels, 0.3, penalties=penalties, residual=residual)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
        module.gain.copy_(torch.rand(channels) + 0.5)
    return module.double().eval()


@pytest.mark.parametrize("penalties", [("soft",), ("firm",), ("scad",), ("scad", "soft"), PENALTIES])
@pytest.mark.parametrize("residual", [True, False])
def test_the_module_its_polyline_and_its_formula_agree(penalties: tuple[Penalty, ...], residual: bool) -> None:
    module, x = random_average(3, penalties, residual), torch.linspace(-9, 9, 997, dtype=torch.float64)
    y = module(x.expand(1, 3, -1))[0].detach().numpy()
    weights = torch.softmax(module.logits, 1).detach().numpy()
    levels = nn.functional.softplus(module.thresholds).detach().numpy()
    slopes = nn.functional.softplus(module.ratios).detach().numpy()
    for channel, (own, _, _) in enumerate(module.polyline().function().channels()):
        ratios = {"soft": 0.0, "firm": 1 + slopes[channel, 0], "scad": 2 + slopes[channel, 1]}
        removed = sum(
            weights[channel, at] * removed_by(name, x.numpy(), levels[channel, at], ratios[name])
            for at, name in enumerate(penalties)
        )
        expected = (removed if residual else x.numpy() - removed) * float(module.gain[channel])
        assert np.allclose(y[channel], expected, atol=1e-12)
        assert np.allclose(oaq.capture.functions.FUNCTIONS["polyline"](x.numpy(), *own.parameters), expected, atol=1e-9)


def test_gradients_are_those_of_the_function() -> None:
    module = random_average(3)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    parameters = tuple(module.parameters())
    assert torch.autograd.gradcheck(lambda c, *_: module(c), (x, *parameters), eps=1e-6, atol=1e-5)


def test_parameters_stay_legal_wherever_an_optimizer_takes_them() -> None:
    module = ProximalAverage(2, 0.1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(-30.0)
    knees, factors = module.ramps()
    assert bool((knees > 0).all()) and bool(torch.isfinite(factors).all())
    line = module.polyline()
    assert bool((np.diff(line.places, axis=1) >= 0).all())


@pytest.mark.parametrize("value", [1e-6, 0.01, 1.5, 30.0])
def test_softplus_is_undone(value: float) -> None:
    assert float(nn.functional.softplus(torch.tensor(inverse_softplus(value)).double())) == pytest.approx(value)


@pytest.mark.parametrize("penalties", [(), ("soft", "soft"), ("hard",)])
def test_other_penalties_are_refused(penalties: tuple[Penalty, ...]) -> None:
    with pytest.raises(ConfigError, match="some of soft, firm, scad"):
        ProximalAverage(2, 0.1, penalties=penalties)
    with pytest.raises(ConfigError, match="above 0"):
        ProximalAverage(2, 0.0)


class Sparse(nn.Module):
    """Filters, shrinkage, and back."""

    def __init__(self, shrink: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.analyse, self.shrink = nn.Conv2d(1, 4, 3, padding=1), shrink
        self.synthesize = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        return r - self.synthesize(self.shrink(self.analyse(r)))


@pytest.mark.parametrize("residual", [True, False])
def test_a_network_is_captured_with_a_table_for_each_channel(residual: bool) -> None:
    net, x = Sparse(random_average(4, residual=residual).float()).eval(), torch.rand(3, 1, 9, 9) * 2 - 0.5
    graph = normalize(net, x)
    assert torch.allclose(run_graph(graph, x)[graph.outputs[0]], net(x), atol=1e-5)
    program = oaq.quantize(net, [x.numpy()])
    assert sum(isinstance(node.op, ChannelLookup) for node in program.nodes) == 1
    expected = net(x).detach().numpy()
    answer = np.asarray(oaq.Session(oaq.plan(program)).run(x.numpy()))
    assert np.abs(answer - expected).max() < 0.05 * np.abs(expected).max()


def test_a_bounded_shrinkage_reads_nothing_beyond_its_knees() -> None:
    module = random_average(4).float()
    line = module.polyline()
    far = torch.full((1, 4, 2, 2), 1e6)
    edges = torch.tensor(line.places[:, -1], dtype=torch.float32).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert torch.allclose(module(far), module(edges), atol=1e-6)


class Lying(nn.Module):
    """Says that it doubles, and adds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1

    def polyline(self) -> Polyline:
        one = np.ones((4, 1))
        return Polyline(np.full((4, 2), 2.0), 0 * one, 0 * one)


def test_a_module_that_computes_something_else_than_it_says_is_refused() -> None:
    with pytest.raises(UnsupportedOp, match=r"shrink: .*differs from it by"):
        normalize(Sparse(Lying()), torch.zeros(1, 1, 5, 5))


def test_a_polyline_of_other_channels_is_refused() -> None:
    class Narrow(Lying):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        def polyline(self) -> Polyline:
            return Polyline(np.full((3, 2), 2.0), np.zeros((3, 1)), np.zeros((3, 1)))

    with pytest.raises(UnsupportedOp, match="3 polylines for 4 channels"):
        normalize(Sparse(Narrow()), torch.zeros(1, 1, 5, 5))


def test_a_module_called_twice_is_two_operators() -> None:
    class Twice(Sparse):
        def forward(self, r: torch.Tensor) -> torch.Tensor:
            return self.synthesize(self.shrink(self.shrink(self.analyse(r))))

    net, x = Twice(random_average(4, residual=False).float()).eval(), torch.rand(2, 1, 6, 6)
    graph = normalize(net, x)
    assert [type(node.op).__name__ for node in graph.nodes].count("FloatChannelFunction") == 2
    assert torch.allclose(run_graph(graph, x)[graph.outputs[0]], net(x), atol=1e-5)
