"""A value per pixel that multiplies channels, as attention gates have it, from torch to the native session."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq import operators as ops
from oaq.capture.graph import Unquantized
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize_with_report
from tests.capture.test_from_torch import Calls, agree, image


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_a_mask_of_a_value_per_pixel_is_spread_over_the_channels(channels: int) -> None:
    def masked(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = x[:, :channels] + 1.0
        return torch.sigmoid(x[:, 5:]) * y

    nodes = agree(Calls(masked), image()).nodes
    joins = [node for node in nodes if node.op == Unquantized(ops.Concat)]
    assert len(joins) == {1: 0, 2: 1, 3: 1, 6: 2}[channels]


class Gated(nn.Module):
    """Seven channels, each times one number per pixel in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 7, 3, padding=1), nn.Conv2d(3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * torch.sigmoid(self.gate(x))


def test_gated_channels_run_natively_and_near_float() -> None:
    torch.manual_seed(0)
    net, x = Gated().eval(), np.random.default_rng(0).standard_normal((4, 3, 9, 10)).astype(np.float32)
    program, _ = quantize_with_report(net, [x], Options(budget=None, rounding="nearest"))
    oaq.verify(program).raise_if_unsafe()
    with torch.inference_mode():
        exact = net(torch.from_numpy(x)).numpy()
    noise = np.asarray(oaq.Session(oaq.plan(program)).run(x)) - exact
    assert np.sum(exact**2) > 3000 * np.sum(noise**2)
