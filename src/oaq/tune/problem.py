"""What ``tune`` chooses between: steps of tensors and fills of layers, with what each costs in precision and time.

A *group* is a set of tensors that share their integers' meaning. It takes one of S step counts; every layer that reads
it takes one of Z fills. Errors add up over groups and readers, and so does every resource (seconds on one instruction
set). The choice of least error inside all limits is an integer linear program (``solve``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError

Reals = NDArray[np.float64]
Pick = tuple[int, tuple[int, ...]]
"""Index of a group's steps, and of the fill of each of its readers."""


@dataclass(frozen=True, eq=False)
class Reader:
    """One layer that reads a group.

    Attributes:
        name: of the node.
        error: (S, Z) noise at the network's outputs, in parts of their power.
        cost: (R, S, Z) units of each resource.
    """

    name: str
    error: Reals
    cost: Reals


@dataclass(frozen=True, eq=False)
class Group:
    """Tensors that share one affine map, and the layers that read them.

    Attributes:
        name: of the tensor that is written first.
        error: (S,) noise at the outputs when the group has these steps.
        readers: may be none.
    """

    name: str
    error: Reals
    readers: tuple[Reader, ...] = ()

    def pick_error(self, pick: Pick) -> float:
        """Noise of one choice."""
        steps, fills = pick
        terms = [float(reader.error[steps, fill]) for reader, fill in zip(self.readers, fills, strict=True)]
        return float(self.error[steps]) + sum(terms)

    def pick_cost(self, pick: Pick) -> Reals:
        """(R,) of one choice; (0,) zeros without readers broadcast to any R."""
        steps, fills = pick
        costs = [reader.cost[:, steps, fill] for reader, fill in zip(self.readers, fills, strict=True)]
        return np.sum(costs, axis=0) if costs else np.zeros(1)


@dataclass(frozen=True)
class Limits:
    """What a choice has to keep.

    Attributes:
        costs: most of each resource; None leaves a resource free.
        error: most noise; None minimises it.
        minimise: resource to be minimised when ``error`` is given.
    """

    costs: tuple[float | None, ...]
    error: float | None = None
    minimise: int = 0

    def __post_init__(self) -> None:
        if self.error is not None and not self.error > 0:
            raise ConfigError(f"a limit of noise is positive, not {self.error!r}")
        for cost in self.costs:
            if cost is not None and not cost > 0:
                raise ConfigError(f"a budget is positive, not {cost!r}")


@dataclass(frozen=True, eq=False)
class Solution:
    """A choice for every group.

    Attributes:
        picks: in the order of the groups.
        error: predicted noise.
        costs: (R,) predicted.
        bound: no choice inside the limits has a lower objective than this.
        gap: (objective - bound) / objective; 0 is proved optimal.
    """

    picks: tuple[Pick, ...]
    error: float
    costs: Reals
    bound: float
    gap: float


@dataclass(frozen=True, eq=False)
class Proposal:
    """A solution, and what it should do to the whole network.

    Attributes:
        solution: a choice for every group.
        noise: at the outputs, in parts of their power.
        seconds: of one sample on one thread, by instruction set.
    """

    solution: Solution
    noise: float
    seconds: tuple[float, ...]


def solution_of(groups: Sequence[Group], picks: Sequence[Pick], objective: int | None, bound: float) -> Solution:
    """Add up what ``picks`` cost; ``objective`` is None for the error, else a resource."""
    error = sum(group.pick_error(pick) for group, pick in zip(groups, picks, strict=True))
    resources = max((reader.cost.shape[0] for group in groups for reader in group.readers), default=1)
    costs = np.zeros(resources)
    for group, pick in zip(groups, picks, strict=True):
        costs = costs + group.pick_cost(pick)
    value = error if objective is None else float(costs[objective])
    gap = max(value - bound, 0.0) / value if value > 0 else 0.0
    return Solution(tuple(picks), error, costs, min(bound, value), gap)
