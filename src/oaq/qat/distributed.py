"""Numbers that every process must agree on: sums and maxima over all of them; without a group, the numbers themselves.

Collective calls happen in the same order everywhere, because every process runs the same graph.
"""

from __future__ import annotations

import torch
import torch.distributed as dist


def processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 without a group."""
    return dist.get_rank() if processes() > 1 else 0


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes; no gradient."""
    return _reduced(value, dist.ReduceOp.SUM) if processes() > 1 else value


def greatest(value: torch.Tensor) -> torch.Tensor:
    """The element-wise maximum over all processes; no gradient."""
    return _reduced(value, dist.ReduceOp.MAX) if processes() > 1 else value


def _reduced(value: torch.Tensor, operation: dist.ReduceOp.RedOpType) -> torch.Tensor:
    """On the device the backend wants: nccl takes nothing that lies on the CPU."""
    device = torch.device("cuda") if dist.get_backend() == "nccl" else value.device
    moved = value.detach().to(device, copy=True)
    dist.all_reduce(moved, op=operation)
    return moved.to(value.device)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
        return total(value)

    @staticmethod
    def backward(ctx: object, *gradient: torch.Tensor) -> torch.Tensor:
        return total(gradient[0].contiguous())


def total_through(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes; its gradient is the sum of theirs."""
    return _Total.apply(value) if processes() > 1 else value  # type: ignore[return-value]


def is_first() -> bool:
    """True in the one process that writes files and tables."""
    return processes() == 1 or dist.get_rank() == 0
