"""Programs that know integers only are trained as exactly as those with float multipliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oaq.errors import ConfigError
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.qat import Config, Wrapping, convert, fold, prepare
from oaq.qat.fixed_point import in_fixed_point
from tests.qat.nets import ALL_METHODS, batch, config, differences, everything_graph, net_graph, trained


@pytest.mark.parametrize("method", [method for method in ALL_METHODS if method != "wrap"])
def test_every_operator_has_the_integers_of_its_program(method: str) -> None:
    network = prepare(everything_graph(), batch(), config(method, requantize="fixed_point"))
    x = batch(4, seed=3)
    trained(network, x, network(x).detach() * 0.9, steps=2)
    program = convert(network)
    assert program.requantize == "fixed_point"
    assert differences(network, program, x) == []


def test_layers_that_wrap_keep_their_tables() -> None:
    settings_of_wrap = Config("wrap", weight_bits=2, activation_bits=2, wrapping=Wrapping(10), requantize="fixed_point")
    network = prepare(net_graph(nn.ReLU), batch(), settings_of_wrap)
    fold(network)
    network.eval()
    assert differences(network, convert(network), batch(4, seed=3)) == []


def test_the_two_semantics_differ_somewhere() -> None:
    """Otherwise the tests above would say nothing."""
    ratio = np.array([0.5], np.float32)
    halves = np.array([[1], [3], [-1], [-3]])
    both = [
        Requantize.from_scales(ratio, way).apply(halves, 0, IntRange(-9, 9))
        for way in ("float32_half_even", "fixed_point")
    ]
    assert not np.array_equal(*both)


@settings(max_examples=200, deadline=None)
@given(
    exponent=st.integers(-31, 28),
    fraction=st.floats(1.0, 1.984375, width=32),
    total=st.integers(-(2**31), 2**31 - 1),
)
def test_sums_are_scaled_as_the_law_scales_them(exponent: int, fraction: float, total: int) -> None:
    ratio = np.array([fraction * 2.0**exponent], np.float32)
    clamp = IntRange(-255, 255)
    expected = Requantize.from_scales(ratio, "fixed_point").apply(np.array([[total]]), 0, clamp)
    sums = torch.tensor([[float(total)]], dtype=torch.float64)
    result = in_fixed_point(sums, torch.from_numpy(ratio), "layer")
    assert int(result.clamp(clamp.lo, clamp.hi)) == int(expected[0, 0])


def test_gradients_stop_where_an_operator_without_weights_is_clamped_as_with_float_multipliers() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.conv(x) + x)

    torch.manual_seed(0)
    net, x = Sum().eval(), torch.randn(2, 3, 8, 8)
    gradients = []
    for semantics in ("float32_half_even", "fixed_point"):
        network = prepare(net, x, config("none", requantize=semantics))
        large = (4 * x).requires_grad_()
        gradients.extend(torch.autograd.grad(network(large).sum(), [large]))
    assert float((gradients[0] == 0).float().mean()) > 0.3
    assert float((gradients[0] == gradients[1]).float().mean()) > 0.98


def test_a_semantics_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="requantize is one of float32_half_even, fixed_point, not 'dyadic'"):
        Config(requantize="dyadic")  # type: ignore[arg-type]
