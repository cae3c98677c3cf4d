"""What one node of a session took, and how it was computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeProfile:
    """Time spent in one node of a session. Measured.

    Attributes:
        name: node name.
        kind: operator.
        row: kernel row.
        microseconds: of one run, median over repeats.
        macs: multiply-accumulates per run, 0 if it has none.
        operands: where native code found them: "direct", "in lines" or "gathered"; empty if it sums nothing.
        in_words: part of the tiles whose results left in 16 bits; None likewise.
    """

    name: str
    kind: str
    row: str
    microseconds: float
    macs: int = 0
    operands: str = ""
    in_words: float | None = None
