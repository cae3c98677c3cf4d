"""Layers of thousands of products: a budget thins their sums by coarser weights, never by leaving steps out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.choose.round import packed_rows
from oaq.kernels.cost import Predictor
from oaq.ptq.curves import Layer, make_layer
from oaq.ptq.execute import layers
from oaq.ptq.search import FILL_CANDIDATES, cost_curve
from oaq.ptq.times import predictor_of_graph


def wide_net() -> nn.Sequential:
    """A convolution whose every sum is of 4608 products, behind a narrow one."""
    torch.manual_seed(0)
    first, wide = nn.Conv2d(3, 512, 3, padding=1), nn.Conv2d(512, 24, 3, padding=1)
    return nn.Sequential(first, nn.ReLU6(), wide).eval()


def wide_layer() -> tuple[Layer, Predictor]:
    graph = normalize(wide_net(), torch.zeros(1, 3, 10, 10), "net")
    (_, _), (node, op) = layers(graph)
    time = predictor_of_graph(graph)
    return make_layer(graph, node, op, np.ones_like(packed_rows(op)), time), time


def test_no_fill_makes_it_quicker_than_the_same_layer_without_a_spill() -> None:
    layer, time = wide_layer()
    weight, _ = layer.integers(FILL_CANDIDATES[0], 255)
    assert (np.abs(weight).reshape(-1, 4).max(axis=1) == 0).mean() > 0.5, "no steps of zeros: the test shows nothing"
    least = min(time.least(row, layer.site, weight.shape[1]) for row in layer.rows_to_take)
    curve = cost_curve(layer)
    assert curve[0] >= least
    assert all(one <= next_one for one, next_one in pairwise(curve))
    assert curve[-1] < 4 * curve[0]
