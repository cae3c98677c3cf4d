"""One small network twice: as torch has it, and as a file that keeps its batch norms."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from tests.capture.from_onnx.files import model, node


class Block(nn.Module):
    """A stem, an inverted residual with a gate, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.deep, self.deep_norm = nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.project = nn.Conv2d(8, 8, 1)
        self.last = nn.Linear(8, 5)
        for norm in (self.norm, self.deep_norm):
            norm.running_mean.normal_()  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            norm.eps = 1e-3  # no float32

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        y = nn.functional.hardswish(self.deep_norm(self.deep(x)))
        gate = self.excite(torch.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(y, 1))))
        y = self.project(y * torch.sigmoid(gate)) + x
        return self.last(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1))


def file_of(net: Block) -> onnx.ModelProto:
    """The same, written by hand."""
    arrays = {name: value.detach().numpy() for name, value in net.state_dict().items() if value.ndim}
    arrays["a"] = np.array([2, 3])

    def norm(name: str, x: str, y: str) -> onnx.NodeProto:
        parts = [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return node("BatchNormalization", [x, *parts], y, epsilon=1e-3)

    nodes = [
        node("Conv", ["x", "stem.weight"], "s0", pads=[1] * 4, strides=[2, 2]),
        norm("norm", "s0", "s1"),
        node("Relu", ["s1"], "s"),
        node("Conv", ["s", "deep.weight"], "d0", pads=[1] * 4, group=8),
        norm("deep_norm", "d0", "d1"),
        node("HardSwish", ["d1"], "d"),
        node("GlobalAveragePool", ["d"], "p"),
        node("Conv", ["p", "squeeze.weight", "squeeze.bias"], "q0"),
        node("Relu", ["q0"], "q"),
        node("Conv", ["q", "excite.weight", "excite.bias"], "e0"),
        node("Sigmoid", ["e0"], "e"),
        node("Mul", ["d", "e"], "m"),
        node("Conv", ["m", "project.weight", "project.bias"], "r0"),
        node("Add", ["r0", "s"], "r"),
        node("GlobalAveragePool", ["r"], "g"),
        node("Squeeze", ["g", "a"], "f"),
        node("Gemm", ["f", "last.weight", "last.bias"], "y", transB=1),
    ]
    return model(nodes, {"x": ("n", 3, 16, 16)}, ["y"], arrays)
