"""What a cost table says of the rows it timed: an untimed row is compared with them by facts, not by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from oaq.kernels.table import KernelRow

Spills = Literal["none", "every step", "after runs", "looked up", ""]
SPILLS: Final = ("none", "every step", "after runs", "looked up", "")


@dataclass(frozen=True)
class RowFacts:
    """What makes one row similar to another.

    Attributes:
        family: of the row.
        isa: the instruction set it needs.
        includes: those that come with it.
        spills: its register is never spilled before the end, at every step, or after runs; its sums are looked up, and
            spilled after runs; "" if it sums no products.
    """

    family: str
    isa: str
    includes: frozenset[str]
    spills: Spills

    def distance(self, row: RowFacts) -> tuple[bool, int]:
        """Rows that spill alike are nearer; then those whose instruction sets differ by fewer."""
        return self.spills != row.spills, len(_sets(self) ^ _sets(row))


CORRESPONDING: Final[Mapping[str, str]] = {
    "neon": "avx2",
    "dotprod": "avxvnni",
    "i8mm": "avxvnni",
    "simd128": "avx2",
    "relaxed": "avx2",
}
"""Instruction sets of Arm and WebAssembly, by those of x86 whose rows do alike work, which their rows are near."""


def _sets(row: RowFacts) -> frozenset[str]:
    return frozenset(CORRESPONDING.get(isa, isa) for isa in row.includes | {row.isa})


def facts_of(row: KernelRow) -> RowFacts:
    """The facts of a row of a table."""
    register = row.accumulator
    if register is None:
        spills: Spills = ""
    elif register.is_exact:
        spills = "none"
    elif row.looks_up:
        spills = "looked up"
    else:
        spills = "every step" if register.max_run == 1 else "after runs"
    return RowFacts(row.family, row.isa, row.includes, spills)


def best_of_family(facts: Mapping[str, RowFacts], family: str, isas: Iterable[str]) -> str | None:
    """The name of the row of ``family`` with the most inclusive of these instruction sets; None if there is none."""
    allowed = set(isas)
    names = [name for name, row in facts.items() if row.family == family and row.isa in allowed]
    return max(names, key=lambda name: (len(facts[name].includes), name), default=None)


def facts_to_json(facts: RowFacts) -> dict[str, Any]:
    """Plain data for a cost table's file."""
    return {"family": facts.family, "isa": facts.isa, "includes": sorted(facts.includes), "spills": facts.spills}


def facts_from_json(plain: object) -> RowFacts | None:
    """Read what ``facts_to_json`` wrote; None for anything else."""
    if not isinstance(plain, dict) or set(plain) != {"family", "isa", "includes", "spills"}:
        return None
    names = plain["includes"]
    texts = isinstance(plain["family"], str) and isinstance(plain["isa"], str) and plain["spills"] in SPILLS
    if not texts or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return RowFacts(plain["family"], plain["isa"], frozenset(names), plain["spills"])
