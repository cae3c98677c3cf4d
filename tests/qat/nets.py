"""Networks and settings for tests of training."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph
from oaq.capture.order import flattened_image, nhwc_order
from oaq.choose.target import Target
from oaq.program.int_program import IntProgram
from oaq.qat import METHODS, Config, QatNetwork
from oaq.reference import run
from oaq.runtime.values import to_integers
from tests.ptq.nets import net


class Everything(nn.Module):
    """Every operator that has a law: layers of every geometry, and all that lies between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4)
        self.squeeze = nn.Conv2d(12, 4, 1)
        self.excite = nn.Conv2d(4, 12, 1)
        self.project = nn.Conv2d(12, 12, 1)
        self.slopes = nn.Parameter(torch.linspace(-0.2, 0.6, 12))
        self.odd = nn.Conv2d(24, 16, (2, 3))
        self.flat = nn.Linear(4 * 8 * 8, 10)
        self.head = nn.Linear(10, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norm(self.stem(x)))
        x = F.silu(self.depthwise(x))
        x = F.hardtanh(self.grouped(x), -1.5, 2.0)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = x * gate
        x = F.relu(x + self.project(x))
        pooled = F.max_pool2d(x, 3, 1, 1)
        pooled = pooled.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
        mean = F.prelu(F.avg_pool2d(x - 0.3, 3, 1, 1, count_include_pad=False), self.slopes)
        x = self.odd(F.pad(torch.cat([pooled, mean], dim=1), (1, 1, 0, 1)))
        x = F.pixel_shuffle(x, 2)
        x = F.interpolate(x, size=(11, 9), mode="bilinear", align_corners=False)
        x = F.interpolate(x, size=(10, 10), mode="nearest")
        x = F.pad(F.avg_pool2d(x, 2, 2), (1, 1, 1, 1))[:, :, 1:7, 1:7]
        x = F.pad(x, (1, 1, 1, 1))[:, :, :8, :8]
        x = torch.flatten(x, 1)
        return self.head(F.relu(self.flat(F.leaky_relu(x, 0.1))))


def everything(seed: int = 0) -> Everything:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Everything()
        made.norm.weight.data.uniform_(0.5, 1.5)
        made.norm.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
        made.norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return made.eval()


@cache
def everything_graph() -> FloatGraph:
    """Captured once: values are frozen."""
    return normalize(everything(), batch(1))


@cache
def net_graph(act: type[nn.Module] = nn.ReLU6, seed: int = 0) -> FloatGraph:
    """That of ``tests.ptq.nets.net``."""
    return normalize(net(act, seed), batch(1))


def batch(count: int = 8, seed: int = 0, size: int = 16) -> torch.Tensor:
    """Smooth random images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, size // 4, size // 4, generator=generator)
    fine = torch.randn(count, 3, size, size, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="nearest") + 0.2 * fine


def config(method: str, **changes: object) -> Config:
    """A config of the method with a target it can have."""
    pure = method.startswith("a2q")
    target = Target("pure", 16) if pure else Target("avx2", 16, 4)
    return Config(**{"method": method, "target": target, **changes})  # type: ignore[arg-type]


def trained(network: QatNetwork, x: torch.Tensor, wanted: torch.Tensor, steps: int = 5, lr: float = 1e-3) -> QatNetwork:
    """A few steps towards ``wanted``."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    network.train()
    for _ in range(steps):
        loss = (network(x) - wanted).square().mean() + network.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def differences(network: QatNetwork, program: IntProgram, x: torch.Tensor) -> list[str]:
    """Tensors whose integers are not those of the program's reference run."""
    network.eval()
    with torch.no_grad():
        mine, grids = network.run({network.graph.inputs[0]: x}, keep=True)
    found = run(program, to_integers(program, x.cpu().numpy())).tensors
    assert set(found) == set(mine)
    for name in mine:
        image = flattened_image(network.graph, name)
        if image is not None:
            mine[name] = mine[name][:, torch.from_numpy(nhwc_order(image))]
    return [name for name, wanted in found.items() if not np.array_equal(raw(mine[name], grids[name]), wanted)]


def raw(centred: torch.Tensor, grid: object) -> NDArray[np.int64]:
    """Integers as the program lays them out."""
    values = (centred + grid.zero_point).detach().cpu().numpy()  # type: ignore[attr-defined]
    assert np.array_equal(values, np.rint(values))
    return (np.moveaxis(values, 1, -1) if values.ndim == 4 else values).astype(np.int64)


ALL_METHODS = tuple(METHODS)
