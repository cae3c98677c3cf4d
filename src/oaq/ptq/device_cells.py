"""Which products share a register, as tensors on a device: ``numerics.cells.Cells`` for layers in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from oaq.numerics.cells import Cells


@dataclass(frozen=True, eq=False)
class DeviceCells:
    """``Cells`` on a device.

    Attributes:
        members: (Q, width) which k each register sums; -1 where it sums fewer.
        place: (K,) where k stands in the flattened (Q, width).
    """

    members: torch.Tensor
    place: torch.Tensor

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, K) by register, (N, Q, width): zeros where a register sums fewer; differentiable."""
        return torch.cat([rows, rows.new_zeros(len(rows), 1)], dim=1)[:, self.members]

    def scatter(self, values: torch.Tensor) -> torch.Tensor:
        """(N, Q, width) by product, (N, K): the inverse of ``gather``."""
        return values.flatten(1)[:, self.place]


def on_device(cells: Cells, device: torch.device | str) -> DeviceCells:
    """The cells as tensors on ``device``."""
    return DeviceCells(torch.from_numpy(cells.members).to(device), torch.from_numpy(cells.place).to(device))
