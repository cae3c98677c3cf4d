"""Borders, nearest pixels, rolls, flips, steps and lists of torch: what the graph computes is what torch computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import oaq  # noqa: E402
from oaq import operators as ops  # noqa: E402
from oaq.capture import from_torch  # noqa: E402
from oaq.ptq.execute import float_outputs  # noqa: E402
from oaq.report.agreement import sqnr_db  # noqa: E402


class Behind(nn.Module):
    """A function of what a convolution gives."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.function = nn.Conv2d(3, 6, 3), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.layer(x))


QUARTERS = ((0, 0), (1, 0), (0, 1), (1, 1))
PICKED = {
    "reflected": nn.Sequential(nn.ReflectionPad2d((1, 2, 0, 3)), nn.Conv2d(3, 4, 3)),
    "repeated": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReplicationPad2d(2)),
    "wrapped by the layer": nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
    "reflected by the layer": nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
    "nearest by a factor": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=1.7)),
    "nearest where float32 misses": Behind(lambda y: F.interpolate(y[:, :, :2, :2], size=(82, 2))),
    "nearest, exact": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(size=(9, 13), mode="nearest-exact")),
    "backwards": Behind(lambda y: y.flip(2, 3)),
    "rolled": Behind(lambda y: y.roll((1, -2), (2, 3))),
    "steps": Behind(lambda y: y[:, ::2, 1::3]),
    "a list": Behind(lambda y: y.index_select(1, torch.tensor([5, 0, 0]))),
    "quarters side by side": Behind(lambda y: torch.cat([y[..., a::2, b::2] for a, b in QUARTERS], 1)),
}


@pytest.mark.parametrize("name", PICKED)
def test_what_is_picked_is_what_torch_picks(name: str) -> None:
    torch.manual_seed(2)
    net, x = PICKED[name].eval(), np.random.default_rng(0).normal(size=(16, 3, 8, 10)).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    graph = from_torch.normalize(net, torch.from_numpy(x))
    np.testing.assert_allclose(float_outputs(graph, x)[0], expected, atol=1e-5)
    program = oaq.quantize(graph, [x])
    assert any(isinstance(step.op, ops.Gather) for step in program.nodes)
    assert sqnr_db(expected, np.asarray(oaq.Session(oaq.plan(program)).run(x))) > 25
