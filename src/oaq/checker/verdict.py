"""What the checker found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One claim that does not hold.

    Attributes:
        node: the node or tensor it is about; "" for the certificate as a whole.
        message: what is wrong, with the numbers.
        register: the register model of the schedule it is about, if any.
        tile: likewise.
        segment: row of the schedule's segments, likewise.
    """

    node: str
    message: str
    register: str | None = None
    tile: int | None = None
    segment: int | None = None

    def __str__(self) -> str:
        place = [self.node] if self.node else []
        place += [f"{name} {value}" for name, value in self._places() if value is not None]
        return f"{', '.join(place)}: {self.message}" if place else self.message

    def _places(self) -> list[tuple[str, object]]:
        return [("register", self.register), ("tile", self.tile), ("segment", self.segment)]


@dataclass(frozen=True)
class Verdict:
    """Safe if nothing was found.

    Attributes:
        findings: every claim that does not hold; empty if safe.
        assumed: what the verdict rests on beyond the arithmetic, such as register models taken from the file itself.
        tensors: ranges derived.
        sums: outputs whose 32-bit sums were derived.
        segments: runs derived, every lane of every output of each.
        modular: layers whose sums count modulo 2**b: they wrap by design, and nothing says that none overflows.
    """

    findings: tuple[Finding, ...] = ()
    assumed: tuple[str, ...] = ()
    tensors: int = 0
    sums: int = 0
    segments: int = 0
    modular: int = 0

    @property
    def safe(self) -> bool:
        """True iff every claim was derived again."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """Plain data for reports."""
        return {
            "safe": self.safe,
            "findings": [str(finding) for finding in self.findings],
            "assumed": list(self.assumed),
            "tensors": self.tensors,
            "sums": self.sums,
            "segments": self.segments,
            **({"wrap_by_design": self.modular} if self.modular else {}),
        }


@dataclass
class Notes:
    """A verdict being written."""

    findings: list[Finding] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    tensors: int = 0
    sums: int = 0
    segments: int = 0
    modular: int = 0

    def verdict(self) -> Verdict:
        """As far as it goes."""
        return Verdict(tuple(self.findings), tuple(self.assumed), self.tensors, self.sums, self.segments, self.modular)
