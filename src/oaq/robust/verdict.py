"""What is known about a network on a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.robust.certificate import Certificate

State = Literal["robust", "refuted", "undecided"]


@dataclass(frozen=True)
class OpenCase:
    """A case that is not closed.

    Attributes:
        rival: the output that may win.
        bound: by how much, at most, its accumulators meet the case; below 0 would exclude it.
    """

    rival: int
    bound: float


@dataclass(frozen=True, eq=False)
class Robustness:
    """The answer to one query.

    Attributes:
        state: "robust" for every input of the set, with a certificate; "refuted" by ``witness``, which was run on the
            reference; or "undecided".
        label: what the network says at the centre.
        witness: an input of the set, one sample's shape; None unless refuted.
        witness_label: what the network says there.
        open: cases left, greatest bound first.
        stage: what decided: "ranges", "bound", "attack", "tree", "enumeration", "solver" (an input only); or "limit".
        nodes: splits.
        seconds: of the search, without checking.
        certificate: None while undecided.
        claimed: rivals that a solver called impossible: its claim, in floating point, never a proof.
    """

    state: State
    label: int
    witness: NDArray[np.uint8] | None = None
    witness_label: int | None = None
    open: tuple[OpenCase, ...] = ()
    stage: str = "limit"
    nodes: int = 0
    seconds: float = 0.0
    certificate: Certificate | None = field(default=None, repr=False)
    claimed: tuple[int, ...] = ()

    @property
    def is_robust(self) -> bool:
        """Proved for every input of the set."""
        return self.state == "robust"

    @property
    def bound(self) -> float | None:
        """The greatest bound left open; None if nothing is."""
        return self.open[0].bound if self.open else None

    def to_json(self) -> Mapping[str, Any]:
        """For one line of a folder's answers."""
        return {
            "state": self.state,
            "label": self.label,
            "witness_label": self.witness_label,
            "open": [{"against": case.rival, "bound": case.bound} for case in self.open],
            "stage": self.stage,
            "claimed_by_solver": list(self.claimed),
            "nodes": self.nodes,
            "seconds": round(self.seconds, 6),
        }
