"""A small pyramid whose head is shared by its levels, for tests of shared weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

X = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Pyramid(nn.Module):
    """Two levels, an addition between them, a tower and a predictor for both.

    Args:
        levels: batch norms of the tower are each level's own.
        turned: one level's batch norm has negative weights.
    """

    def __init__(self, *, levels: bool = True, turned: bool = False) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.Conv2d(8, 8, 3, 2, 1, bias=False)
        self.stem_norm, self.down_norm = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.tower = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        norms = [nn.BatchNorm2d(8) for _ in range(2)] if levels else [nn.BatchNorm2d(8)] * 2
        self.norms = nn.ModuleList(norms)
        self.predict = nn.Conv2d(8, 4, 3, 1, 1)
        self.reach = nn.ParameterList(nn.Parameter(torch.tensor(value)) for value in (1.0, 1.7))
        for norm in (self.stem_norm, self.down_norm, *norms):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0.2, 0.2)
        if turned:
            with torch.no_grad():
                self.norms[1].weight[2:4].neg_()  # type: ignore[operator, index]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        low = F.relu(self.stem_norm(self.stem(x)))
        high = F.relu(self.down_norm(self.down(low)))
        low = low + F.interpolate(high, scale_factor=2.0, mode="nearest")
        outputs: list[torch.Tensor] = []
        for level, value in enumerate((low, high)):
            y = self.predict(F.relu(self.norms[level](self.tower(value))))
            outputs.append(F.relu(y * self.reach[level]))
        return tuple(outputs)


def pyramid(*, levels: bool = True, turned: bool = False) -> Pyramid:
    """One whose batch norms have seen samples, in eval mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        net = Pyramid(levels=levels, turned=turned).train()
        for scale in (0.5, 1.0, 1.5):
            net(X * scale)
    return net.eval()
