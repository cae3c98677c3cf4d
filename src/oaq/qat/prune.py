"""Pruning in training: which weights go first, and how many; masks are ``qat.masks``.

"Ps and Qs" (2102.11289) prunes a network while it is quantized: rounds of training, after each a larger share of the
smallest weights is zero for good, and training goes on from the last weights or from the first (``rewind``). Beside
single weights, whole blocks may go, as kernels execute them: one inner step of one tile of outputs, which a plan then
leaves out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import torch

from oaq.errors import ConfigError
from oaq.numerics.cells import TileShape
from oaq.ptq.device_cells import DeviceCells

PUBLISHED: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.967, 0.989)
"""Shares of zeros after each round of the paper; with the dense network, twelve points."""
SCOPES: Final = {
    "global": "the weights of all layers are compared with one another",
    "layer": "every layer loses the same share",
}
CRITERIA: Final = {
    "magnitude": "the smallest weights go first",
    "bound": "the smallest weights of the fullest registers go first",
}
PATTERNS: Final = {
    "element": "single weights",
    "quad-tile": "inner steps of tiles of outputs, which kernels leave out",
}
QUAD: Final = 4
"""Products of one inner step of a matrix row."""


@dataclass(frozen=True)
class Prune:
    """How weights become zero for good.

    Attributes:
        schedule: shares of zeros, one per round, rising, each between 0 and 1.
        scope: see ``SCOPES``.
        criterion: see ``CRITERIA``.
        pattern: see ``PATTERNS``; depthwise layers have no such blocks and stay as they are.
        rewind: every round begins with the first weights (a lottery ticket) instead of the last ones.
        outputs: of a block: those of a tile of the kernels that will run it (16 on AVX2, 32 on AVX-512).
        steps: k-quads of a block.
        exempt: regular expressions for whole names of layers that keep their weights.
        l1: weight of the sum of magnitudes of all weights in ``QatNetwork.penalty``.
    """

    schedule: tuple[float, ...] = PUBLISHED
    scope: Literal["global", "layer"] = "global"
    criterion: Literal["magnitude", "bound"] = "magnitude"
    pattern: Literal["element", "quad-tile"] = "element"
    rewind: bool = False
    outputs: int = 16
    steps: int = 1
    exempt: tuple[str, ...] = ()
    l1: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in (("scope", SCOPES), ("criterion", CRITERIA), ("pattern", PATTERNS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"prune: {name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        rises = all(before < after for before, after in zip(self.schedule, self.schedule[1:], strict=False))
        if not self.schedule or not rises or not self.schedule[0] > 0.0 or not self.schedule[-1] < 1.0:
            raise ConfigError(
                f"prune: the schedule is shares of zeros that rise between 0 and 1, not {self.schedule!r}"
            )
        for name in ("outputs", "steps"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ConfigError(f"prune: {name} is a whole number, at least 1; not {getattr(self, name)!r}")
        for pattern in self.exempt:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"prune: {pattern!r} is not a regular expression: {error}") from error
        if not 0.0 <= self.l1 < float("inf"):
            raise ConfigError(f"prune: l1 is at least 0 and finite, not {self.l1!r}")

    def spares(self, layer: str, *, depthwise: bool) -> bool:
        """Whether the layer of this name keeps its weights."""
        is_named = any(re.fullmatch(pattern, layer) for pattern in self.exempt)
        return is_named or (depthwise and self.pattern == "quad-tile")


@dataclass(frozen=True, eq=False)
class Units:
    """What of one layer goes together.

    Attributes:
        index: (N, K) which unit each weight belongs to, from 0.
        sizes: (U,) weights of each unit.
    """

    index: torch.Tensor
    sizes: torch.Tensor

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """(U,) mean of (N, K) values over each unit, in float64."""
        total = torch.zeros(len(self.sizes), dtype=torch.float64, device=values.device)
        return total.index_add_(0, self.index.flatten(), values.double().flatten()) / self.sizes


def units(prune: Prune, shape: tuple[int, int], groups: int, device: torch.device) -> Units:
    """What of (N, K) weights in packed K order goes together.

    Args:
        prune: says the pattern.
        shape: N, K.
        groups: of outputs that no block spans.
        device: of the weights.
    """
    if prune.pattern == "element":
        count = shape[0] * shape[1]
        return Units(torch.arange(count, device=device).reshape(shape), torch.ones(count, device=device))
    cut = TileShape(*shape, QUAD * prune.steps, prune.outputs, groups)
    group, within = (
        torch.arange(shape[0]) // cut.outputs_per_group,
        torch.arange(shape[0]) % cut.outputs_per_group,
    )
    tile = group * cut.tiles_per_group + within // prune.outputs
    block = tile[:, None] * cut.steps + torch.arange(shape[1])[None, :] // cut.step
    sizes = torch.bincount(block.flatten(), minlength=cut.tiles * cut.steps)
    return Units(block.to(device), sizes.to(device))


def crowding(integers: torch.Tensor, cells: DeviceCells, budgets: tuple[int, int]) -> torch.Tensor:
    """(N, K): how full its register is with each weight and all larger ones of its sign, in parts of the budget.

    If weights leave a register from the smallest on until it is at most f full, exactly those go whose number here
    exceeds f. So to prune in falling order of it empties the fullest registers first. 0 for a weight of 0.
    """
    gathered = cells.gather(integers)
    result = torch.zeros_like(gathered)
    for sign, budget in zip((1.0, -1.0), budgets, strict=True):
        part = torch.relu(sign * gathered)
        ordered, order = part.sort(dim=-1, descending=True, stable=True)
        filled = ordered.cumsum(dim=-1) / max(budget, 1) * (ordered > 0)
        result += torch.zeros_like(filled).scatter_(-1, order, filled)
    return cells.scatter(result)


def keep(scores: torch.Tensor, sizes: torch.Tensor, first: torch.Tensor, share: float) -> torch.Tensor:
    """Which units stay: those of least score go as long as all that go are at most ``share`` of the weights.

    Args:
        scores: (U,).
        sizes: (U,) weights of each.
        first: (U,) units that have leaving already, and stay so.
        share: of all weights.
    """
    order = torch.argsort(torch.where(first, -torch.inf, scores), stable=True)
    leaving = sizes[order].double().cumsum(0) <= share * float(sizes.double().sum()) + 1e-6
    remaining = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    remaining[order] = ~leaving
    return remaining & ~first
