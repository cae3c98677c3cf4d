"""What a network gives when its sums really wrap: the accuracy that an unproved accumulator costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from oaq.ptq.execute import layers
from oaq.qat import QatNetwork


@contextmanager
def wrapping(network: QatNetwork, bits: dict[str, int]) -> Iterator[None]:
    """Within the context every layer's sum over all of K lives in a register that wraps.

    Only the final sum matters, whatever order it is formed in: a register that wraps forgets what it went through.

    Args:
        network: in ``eval()``.
        bits: of each layer's register; layers that are not named sum exactly.
    """
    grids = network.grids()
    for node, _ in layers(network.graph):
        if node.name in bits:
            layer = network.layer[node.name]
            layer.sums = _wrapped(layer.sums, grids[node.inputs[0]].zero_point, bits[node.name])  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name in bits:
            del network.layer[name].sums


Sums = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _wrapped(exact: Sums, zero_point: int, bits: int) -> Sums:
    """Sums are of operands as loaded: the zero point counts."""
    half = 1 << (bits - 1)

    def sums(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        total = exact(x, weight).double()
        offset = (weight.double().flatten(1).sum(dim=1) * zero_point).reshape(-1, *(1,) * (total.ndim - 2))
        return torch.remainder(total + offset + half, 2 * half) - half - offset

    return sums
