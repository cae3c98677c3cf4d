"""What the network in training would cost as planned: the cheapest proved row of every layer, predicted for AVX2."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from oaq.capture.graph import FloatConv2d
from oaq.kernels.cost import LayerCost, predict_layer_cost
from oaq.ptq.execute import layers
from oaq.ptq.registers import rows_of
from oaq.qat.constrain import exact_integers
from oaq.qat.network import QatNetwork


@torch.no_grad()
def layer_costs(network: QatNetwork, only: Collection[str] | None = None) -> dict[str, LayerCost]:
    """Of every layer, or of those named, as its integers are now; operands may take all of their effective range."""
    grids, found = network.grids(), {}
    for node, op in layers(network.graph):
        if only is not None and node.name not in only:
            continue
        layer, grid = network.layer[node.name], grids[node.inputs[0]]
        rows = exact_integers(layer.numbers(grid).rows).astype(np.int8)
        ends = np.full(rows.shape[1], grid.range.lo, np.int64), np.full(rows.shape[1], grid.range.hi, np.int64)
        groups = op.groups if isinstance(op, FloatConv2d) and not layer.depthwise else 1
        shape = network.graph.shapes[node.output]
        positions = shape[1] * shape[2] if len(shape) == 3 else 1
        found[node.name] = predict_layer_cost(
            rows, ends, rows_of(depthwise=layer.depthwise), groups=groups, positions=positions
        )
    return found


def planned_cost(network: QatNetwork) -> float:
    """Of the whole network, as a multiple of 16-bit sums without a spill."""
    costs = layer_costs(network).values()
    return sum(one.cost for one in costs) / sum(one.without_spills for one in costs)
