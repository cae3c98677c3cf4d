"""What restored slices and blocks score: tables of docs/accuracy/restoration.md, from what ``recipes.qpan`` stored.

``python -m benchmarks.accuracy_table`` writes it; what no file holds is "not run".
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, load
from benchmarks.performance_table import table
from recipes.ledger import LABEL
from recipes.qpan.slices import CHAINS

NAME: Final = "restoration"
"""Name of the markers between which the tables stand."""
FILES: Final = {
    "qpan_slices": "MR slices at 20 %, ISTA-Net+",
    "qpan_blocks": "Set11 at 25 %, ISTA-Net+",
    "qpan_train": "trained here, PSNR in dB",
}
"""What the first column is of, by result file."""


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: a table for each result file."""
    return "\n".join(_table(folder / f"{name}.json", title) for name, title in FILES.items())


def _table(path: Path, title: str) -> str:
    if not path.exists():
        return f"{title}: not run.\n"
    rows = [dict(row) for row in load(path).rows]
    labels = {row[LABEL] for row in rows}
    missing = [label for label, *_ in CHAINS if label not in labels] if path.stem == "qpan_slices" else []
    rows += [{LABEL: label, "PSNR, dB": "not run"} for label in missing]
    heads = list(dict.fromkeys(head for row in rows for head in row if head != LABEL))
    return table((title, *heads), [(row[LABEL], *(row.get(head, "-") for head in heads)) for row in rows])
