"""The tables of docs/coverage-networks.md, written from its result file: ``python -m benchmarks.coverage_networks``.

Nothing is typed by hand between the markers; a test compares. ``python -m recipes.zoo --out
benchmarks/results/coverage_networks.json`` makes the file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, load
from oaq.program.atomic import write_atomically

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "coverage-networks.md"
MARKED: Final = re.compile(r"(<!-- (?P<data>[a-z-]+): begin -->\n).*?(<!-- (?P=data): end -->)", re.DOTALL)
PATHS: Final = ("onnx", "torch")
NEAR_DB: Final = 1.0
"""How far below the peer's SQNR ours may be."""
COSTLY_DB: Final = 1.5
"""What the default budget may cost before it has to be said."""
RUNS: Final = ("integers", "mixed")
Row = Mapping[str, str]


def rows_of(folder: Path = RESULTS) -> list[Row]:
    """Rows of the result file; none if there is no file."""
    path = folder / "coverage_networks.json"
    return [dict(row) for row in load(path).rows] if path.exists() else []


def below_peer(row: Row, path: str) -> float | None:
    """Decibels that the file of ``path`` without a budget is worse than the peer's; None where a file is missing."""
    ours, peer = number(row, f"{path} none sqnr"), number(row, "peer sqnr")
    return None if ours is None or peer is None else peer - ours


def budget_cost(row: Row, path: str) -> float | None:
    """What the default budget costs in dB; None where a file is missing."""
    free, bound = number(row, f"{path} none sqnr"), number(row, f"{path} default sqnr")
    return None if free is None or bound is None else free - bound


def number(row: Row, key: str) -> float | None:
    """A figure of a row; None where there is none."""
    try:
        return float(row[key])
    except (KeyError, ValueError):
        return None


def summary(rows: Sequence[Row]) -> str:
    """How many of the networks do what was aimed at, by path."""
    lines: list[tuple[str, ...]]
    lines = [("from", "quantized and run", "integers alone", f"within {NEAR_DB:g} dB of ONNX Runtime's int8",
              f"default budget costs more than {COSTLY_DB:g} dB unsaid")]  # fmt: skip
    lines.append(("---", *("---:",) * 4))
    for path in PATHS:
        outcomes = [row.get(f"{path} none outcome", "") for row in rows]
        compared = [gap for row in rows if (gap := below_peer(row, path)) is not None]
        silent = sum(
            (budget_cost(row, path) or 0.0) > COSTLY_DB and row.get(f"{path} default hint") != "yes" for row in rows
        )
        lines.append(
            (
                path,
                f"{sum(outcome in RUNS for outcome in outcomes)} of {len(rows)}",
                str(outcomes.count("integers")),
                f"{sum(gap <= NEAR_DB for gap in compared)} of {len(compared)}",
                str(silent),
            )
        )
    return _table(lines)


def outcomes(rows: Sequence[Row]) -> str:
    """Every network by path: outcome, precision, time."""
    lines: list[tuple[str, ...]]
    lines = [("network", "from", "outcome", "dB, no budget", "dB, default", "dB, ORT int8", "ms", "ms, ORT int8",
              "ms, ORT fp32")]  # fmt: skip
    lines.append(("---",) * 3 + ("---:",) * 6)
    for row in rows:
        for path in PATHS:
            lines.append(
                (
                    row["network"],
                    path,
                    _outcome(row, path),
                    _shown(row, f"{path} none sqnr"),
                    _shown(row, f"{path} default sqnr"),
                    _shown(row, "peer sqnr"),
                    _shown(row, f"{path} default ms", 3),
                    _shown(row, "onnxruntime int8 ms", 3),
                    _shown(row, "onnxruntime fp32 ms", 3),
                )
            )
    return _table(lines)


def floats(rows: Sequence[Row]) -> str:
    """What stays in float or is refused, with the reason."""
    lines = [("network", "from", "in float, or the reason"), ("---",) * 3]
    for row in rows:
        for path in PATHS:
            key = f"{path} none"
            text = row.get(f"{key} reason") or row.get(f"{key} floats", "")
            if text:
                lines.append((row["network"], path, _cell(text)))
    return _table(lines)


def _outcome(row: Row, path: str) -> str:
    outcome = row.get(f"{path} none outcome", "not run")
    return f"{float(row[f'{path} none share']):.0%} integers" if outcome == "mixed" else outcome


def _shown(row: Row, key: str, digits: int = 1) -> str:
    value = number(row, key)
    return "-" if value is None else f"{value:.{digits}f}"


def _cell(text: str) -> str:
    plain = re.sub(r"\S*/(?=[\w.]+\.onnx)", "", text.removeprefix("oaq: "))
    plain = plain.replace("|", "/").replace("<", "&lt;")
    return plain if len(plain) <= 160 else plain[:157] + "..."


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


BLOCKS: Final[Mapping[str, Callable[[Sequence[Row]], str]]] = {
    "summary": summary,
    "outcomes": outcomes,
    "floats": floats,
}


def replaced(text: str, folder: Path = RESULTS) -> str:
    """The document with the tables of the file."""
    rows = rows_of(folder)
    return MARKED.sub(lambda match: match[1] + (BLOCKS[match["data"]](rows) if rows else "Not run.\n") + match[3], text)


def main() -> int:
    """Rewrite docs/coverage-networks.md."""
    write_atomically(DOCUMENT, [replaced(DOCUMENT.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
