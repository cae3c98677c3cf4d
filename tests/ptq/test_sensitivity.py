"""What a squared error of each of several outputs is divided by."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph
from oaq.ptq.observe import ChannelStats, observe
from oaq.ptq.samples import chunks
from oaq.ptq.sensitivity import LEAST_SHARE, measure_sensitivity, output_powers


class TwoHeads(nn.Module):
    """Two maps of one trunk; the second stands ``apart`` from zero."""

    def __init__(self, apart: float) -> None:
        super().__init__()
        self.trunk, self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)
        with torch.no_grad():
            self.second.weight.copy_(self.first.weight)
            self.first.bias.zero_()
            self.second.bias.fill_(apart)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.trunk(x)
        return self.first(y), self.second(y)


def captured(apart: float) -> tuple[FloatGraph, list[np.ndarray]]:
    torch.manual_seed(0)
    batches = [np.random.default_rng(0).normal(size=(8, 3, 6, 6)).astype(np.float32)]
    return normalize(TwoHeads(apart).eval(), torch.zeros(1, 3, 6, 6), "net"), batches


def stats_of(mean: float, deviation: float) -> ChannelStats:
    return ChannelStats(np.array([-1.0]), np.array([1.0]), np.array([mean]), np.array([mean**2 + deviation**2]))


def divided_by(graph: FloatGraph, first: ChannelStats, second: ChannelStats) -> tuple[float, float]:
    powers = output_powers(graph, dict(zip(graph.outputs, (first, second), strict=True)))
    sizes = [prod(graph.shapes[name]) for name in graph.outputs]
    return powers[graph.outputs[0]] / sizes[0], powers[graph.outputs[1]] / sizes[1]


def test_outputs_that_vary_alike_are_divided_by_their_powers() -> None:
    graph, _ = captured(0.0)
    assert divided_by(graph, stats_of(0.0, 2.0), stats_of(0.0, 0.5)) == pytest.approx((4.0, 0.25))
    assert divided_by(graph, stats_of(3.0, 1.0), stats_of(6.0, 2.0)) == pytest.approx((10.0, 40.0))


def test_an_output_far_from_zero_counts_by_what_it_varies_by() -> None:
    graph, _ = captured(0.0)
    near, far = divided_by(graph, stats_of(0.0, 2.0), stats_of(8.0, 2.0))
    assert near == pytest.approx(far)


def test_a_constant_output_outweighs_no_other_without_bound() -> None:
    graph, _ = captured(0.0)
    varying, constant = divided_by(graph, stats_of(0.0, 1.0), stats_of(1.0, 0.0))
    assert constant / varying == pytest.approx(LEAST_SHARE)
    zero = divided_by(graph, stats_of(0.0, 1.0), stats_of(0.0, 0.0))
    assert all(np.isfinite(zero)) and min(zero) > 0


def test_the_same_map_is_worth_as_much_wherever_its_mean_stands() -> None:
    for apart in (0.0, 5.0):
        graph, batches = captured(apart)
        stats = observe(graph, chunks(graph, batches))
        sensitivity = measure_sensitivity(graph, stats, list(graph.outputs), chunks(graph, batches))
        first, second = (float(sensitivity.tensors[name].weight.sum()) for name in graph.outputs)
        assert first == pytest.approx(second, rel=0.05)
