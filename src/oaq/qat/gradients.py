"""Functions whose forward is the law on integers and whose backward is declared: what training adds to arithmetic.

Integers travel as float32: exact up to 2**24, which every place that makes larger ones checks.
"""

from __future__ import annotations

from typing import Any

import torch

EXACT_FLOAT32 = 1 << 24
"""Every integer of at most this magnitude is a float32."""


class _Replace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        return gradient[0], None


def round_through(x: torch.Tensor) -> torch.Tensor:
    """Round half to even; the gradient passes unchanged (straight through)."""
    return replaced(x, torch.round(x.detach()))


def truncate_through(x: torch.Tensor) -> torch.Tensor:
    """Round towards zero; the gradient passes unchanged."""
    return replaced(x, torch.trunc(x.detach()))


def replaced(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value``, with the gradient going to ``x``: for a law that is computed exactly in another way."""
    return _Replace.apply(x, value)  # type: ignore[return-value]
