"""What the network in training would cost as planned: the cheapest proved row of every layer, predicted for AVX2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import torch

from oaq.kernels.cost import LayerCost, predict_layer_cost, relative
from oaq.ptq.execute import layers
from oaq.ptq.times import layer_site, other_seconds, predictor_of_graph
from oaq.qat.constrain import exact_integers
from oaq.qat.network import QatNetwork


@torch.no_grad()
def layer_costs(network: QatNetwork, only: Collection[str] | None = None) -> dict[str, LayerCost]:
    """Costs of all layers, or of those named, by their integers now; operands take all of their effective range."""
    grids, costs, time = network.grids(), {}, predictor_of_graph(network.graph)
    for node, op in layers(network.graph):
        if only is not None and node.name not in only:
            continue
        layer, grid = network.layer[node.name], grids[node.inputs[0]]
        rows = exact_integers(network.numbers(node.name, grids).rows).astype(np.int8)
        ends = np.full(rows.shape[1], grid.range.lo, np.int64), np.full(rows.shape[1], grid.range.hi, np.int64)
        site = replace(layer_site(network.graph, node, op), words=0.0)  # training moves no scale to a word
        family = "depthwise" if layer.depthwise else "gemm"
        costs[node.name] = predict_layer_cost(rows, ends, time.target.rows_of(family), site, time)
    return costs


def planned_cost(network: QatNetwork) -> float:
    """Cost of the whole network, as a multiple of the same with 16-bit sums without a spill."""
    return relative_cost(network, layer_costs(network))


def relative_cost(network: QatNetwork, costs: Mapping[str, LayerCost]) -> float:
    """Cost of the whole network, in the unit of ``planned_cost``, from the costs of all layers."""
    return relative(costs.values(), other_seconds(network.graph, predictor_of_graph(network.graph)))
