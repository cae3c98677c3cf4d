"""Cells of the campaigns of ``benchmarks.accuracy``: methods, accumulators, and which of them each campaign tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from oaq.qat import Target

ACCUMULATORS = {
    "32": None,
    "16": Target("pure", 16),
    "14": Target("pure", 14),
    "12": Target("pure", 12),
    "lanes, runs of 8": Target("avx2", 16, 8),
    "lanes, runs of 16": Target("avx2", 16, 16),
}
"""Pure accumulators exempt the first and the last layer, whose operands have 8 bits, from the narrow register."""
PRECISIONS = (8, 4)
TRAINED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "oaq": ("oaq", {}),
    "oaq, learned ranges": ("oaq", {"ranges": "learned"}),
    "a2q": ("a2q", {}),
    "a2q+": ("a2q+", {}),
    "a2q+, adaptive": ("a2q+", {"adaptive": True}),
    "proved, all steps": ("proved", {"adaptive": False}),
    "proved": ("proved", {}),
}
"""Rows of the table: a method, and what of its config is not the default."""
METHODS = (*TRAINED, "axe")
PURE_ONLY = ("a2q", "a2q+", "a2q+, adaptive", "proved, all steps")
SOME = {
    "oaq, learned ranges": ((8, "16"), (4, "16"), (4, "12"), (4, "lanes, runs of 8")),
    "a2q+, adaptive": ((8, "16"), (8, "12"), (4, "12")),
    "proved, all steps": ((8, "16"), (8, "14"), (8, "12"), (4, "12")),
}
"""Variants that are tried where they should matter."""
HEADLINE = (
    ("none", "32"),
    *((method, "16") for method in ("oaq", "a2q+", "proved")),
    *((method, "lanes, runs of 8") for method in ("oaq", "proved")),
)


@dataclass(frozen=True)
class Cell:
    """One training, or one rounding.

    Attributes:
        bits: of weights and operands.
        method: of ``METHODS``.
        accumulator: key of ``ACCUMULATORS``.
        seed: of order and augmentation.
    """

    bits: int
    method: str
    accumulator: str
    seed: int = 0

    @property
    def target(self) -> Target | None:
        """What is to be kept."""
        return ACCUMULATORS[self.accumulator]

    @property
    def key(self) -> tuple[str, ...]:
        """What tells its row from others."""
        return (f"W{self.bits}A{self.bits}", self.accumulator, self.method, str(self.seed))

    def place(self, folder: Path) -> Path:
        """Where its files go."""
        return folder / "-".join(self.key).replace(", ", "_").replace(" ", "_")


def grid() -> list[Cell]:
    """Everything, most telling first; headline rows come with three seeds."""
    headline = [
        Cell(bits, method, accumulator, seed)
        for seed in range(3)
        for bits in PRECISIONS
        for method, accumulator in HEADLINE
    ]
    all_cells = [
        Cell(bits, method, accumulator)
        for accumulator, bits, method in product(("32", "16", "12", *ACCUMULATORS), PRECISIONS, METHODS)
        if possible(method, accumulator) and (method not in SOME or (bits, accumulator) in SOME[method])
    ]
    all_cells.sort(key=lambda cell: cell.method in SOME or cell.method == "a2q")
    two_seeds = 2 * len(PRECISIONS) * len(HEADLINE)
    return list(dict.fromkeys([*headline[:two_seeds], *all_cells, *headline]))


def longer() -> list[Cell]:
    """What is worth many steps: methods that are far from their end after a few; most telling first."""
    cells = [Cell(bits, *method_and_register) for bits, method_and_register in product((4, 8), (("none", "32"),))]
    for (bits, accumulator), method in product(((4, "12"), (8, "16")), ("a2q+", "proved")):
        cells.append(Cell(bits, method, accumulator))
    methods = ("proved", "a2q+", "a2q", "oaq, learned ranges")
    remaining = product(("16", "12", "14"), PRECISIONS, methods)
    return list(dict.fromkeys([*cells, *(Cell(bits, method, accumulator) for accumulator, bits, method in remaining)]))


def depthwise() -> list[Cell]:
    """What lanes do to a network of depthwise layers."""
    contrasts = (
        ("none", "32"),
        ("proved", "lanes, runs of 8"),
        ("oaq", "lanes, runs of 8"),
        ("axe", "lanes, runs of 8"),
    )
    return [Cell(8, method, accumulator) for method, accumulator in (*contrasts, ("proved", "lanes, runs of 16"))]


def published() -> list[Cell]:
    """What the literature has figures for (ResNet-18, W4A4: METHODS of 2401.10432), after 8 bits and beside lanes."""
    eight = [Cell(8, *method_and_register) for method_and_register in (("none", "32"), ("proved", "16"))]
    four = [Cell(4, "none", "32"), *(Cell(4, "proved", bits) for bits in ("16", "14", "12"))]
    cells = [*eight, *four, *(Cell(4, "a2q+", bits) for bits in ("16", "14"))]
    cells += [Cell(bits, "proved", "lanes, runs of 8") for bits in PRECISIONS]
    return [*cells, Cell(4, "a2q+", "12"), Cell(8, "proved", "14"), Cell(8, "proved", "12"), Cell(8, "a2q+", "16")]


def possible(method: str, accumulator: str) -> bool:
    """Whether the method can be asked for that accumulator, and is not the same as another cell."""
    if ACCUMULATORS[accumulator] is None:
        return method == "none"
    if method == "none":
        return False  # the baseline is looked at under every accumulator: see ``baseline_rows``
    return not (method in PURE_ONLY and accumulator.startswith("lanes"))
