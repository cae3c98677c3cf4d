"""Networks people use pass through the torch front end unmodified."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oaq.capture.graph import FloatConv2d
from recipes.networks import NETWORKS
from tests.capture.test_from_torch import agree


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_pass_unmodified(name: str) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name].make().eval()
    graph = agree(net, torch.randn(1, 3, 64, 64), tolerance=1e-3)
    assert all(np.all(np.isfinite(node.op.weight)) for node in graph.nodes if isinstance(node.op, FloatConv2d))
