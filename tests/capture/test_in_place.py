"""Networks that overwrite, clone and view their values: the graph computes the same, or capture refuses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.errors import UnsupportedOp
from oaq.ptq.execute import run_graph

STEPS = {
    "conv": lambda net, a, b: net.conv(a),
    "pool": lambda net, a, b: F.max_pool2d(a, 3, 1, 1),
    "add": lambda net, a, b: a + b,
    "scale": lambda net, a, b: a * net.scale,
    "clone": lambda net, a, b: a.clone(),
    "dropout": lambda net, a, b: F.dropout(a, training=False),
    "contiguous": lambda net, a, b: a.contiguous(),
    "view": lambda net, a, b: a.flatten(1).view(a.shape),
    "halves": lambda net, a, b: torch.cat([a[:, :2], b[:, 2:]], 1),
    "relu_": lambda net, a, b: F.relu_(a),
    "clamp_": lambda net, a, b: a.clamp_(-1.0, 1.0),
    "add_": lambda net, a, b: a.add_(b),
    "mul_": lambda net, a, b: a.mul_(net.scale),
}
"""What a step computes from two earlier values."""


class Program(nn.Module):
    """Steps one after the other, each on two of the values before it; returns the sum of the last two."""

    def __init__(self, steps: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for name, a, b in self.steps:
            values.append(STEPS[name](self, values[a % len(values)], values[b % len(values)]))
        return values[-1] + values[-2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 7), st.integers(0, 7)), min_size=2, max_size=7)
)
@example([("add_", 0, 0), ("clone", 0, 0), ("add", 0, 0), ("add_", 0, 0), ("clamp_", 2, 0)])
def test_overwritten_values_are_read_as_torch_reads_them_or_refused(steps: list[tuple[str, int, int]]) -> None:
    torch.manual_seed(0)
    net, x = Program(steps).eval(), torch.randn(2, 4, 5, 5)
    try:
        graph = normalize(net, x)
    except UnsupportedOp as error:
        refusals = ("in place on memory", "channels lie innermost here")  # the second of a vector seen as an image
        assert any(refusal in str(error) for refusal in refusals)
        return
    with torch.no_grad():
        got = run_graph(graph, x.clone())[graph.outputs[0]]
        torch.testing.assert_close(got, net(x.clone()), rtol=1e-4, atol=1e-4)
