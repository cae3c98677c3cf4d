"""What the network in training would cost as planned: the cheapest proved row of every layer, predicted for AVX2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.kernels.cost import LayerCost, predict_layer_cost, relative
from oaq.ptq.execute import layers
from oaq.ptq.times import layer_site, other_seconds, predictor_of_graph
from oaq.qat.constrain import exact_integers
from oaq.qat.layer import QatLayer
from oaq.qat.network import QatNetwork


@torch.no_grad()
def layer_costs(
    network: QatNetwork, only: Collection[str] | None = None, *, only_masked: bool = True
) -> dict[str, LayerCost]:
    """Costs of all layers, or of those named, by their integers now; operands take all of their effective range.

    A step whose weights are masked is left out, as the plan will do: what is pruned is the user's choice, and makes a
    network cheaper. Steps that are zero by chance count as executed unless ``only_masked`` is False: else narrowing a
    layer until nothing is left of it would look like a way to make it cheap.
    """
    grids, costs, time = network.grids(), {}, predictor_of_graph(network.graph)
    for node, op in layers(network.graph):
        if only is not None and node.name not in only:
            continue
        layer, grid = network.layer[node.name], grids[node.inputs[0]]
        rows = exact_integers(network.numbers(node.name, grids).rows).astype(np.int8)
        ends = np.full(rows.shape[1], grid.range.lo, np.int64), np.full(rows.shape[1], grid.range.hi, np.int64)
        site = replace(layer_site(network.graph, node, op), words=0.0)  # training moves no scale to a word
        family = "depthwise" if layer.depthwise else "gemm"
        held = _not_masked(layer) if only_masked else False
        costs[node.name] = predict_layer_cost(rows, ends, time.target.rows_of(family), site, time, held=held)
    return costs


def planned_cost(network: QatNetwork) -> float:
    """Cost of the whole network as planned, as a multiple of the same, dense, with 16-bit sums without a spill."""
    return relative_cost(network, layer_costs(network, only_masked=False))


def relative_cost(network: QatNetwork, costs: Mapping[str, LayerCost]) -> float:
    """Cost of the whole network, in the unit of ``planned_cost``, from the costs of all layers."""
    return relative(costs.values(), other_seconds(network.graph, predictor_of_graph(network.graph)))


def _not_masked(layer: QatLayer) -> bool | NDArray[np.bool_]:
    """Weights whose steps count as executed, (N, K) in packed K order; True: all of them."""
    return True if layer.mask is None else layer.mask.cpu().numpy()
