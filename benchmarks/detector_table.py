"""What detectors of integers alone score: tables of docs/accuracy/detector.md, from the result files of two recipes.

``python -m benchmarks.accuracy_table`` writes it; what no file holds is "not run".
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, load
from benchmarks.performance_table import table
from recipes.aqd.rows import ROWS

NAME: Final = "detector"
"""Name of the markers between which the tables stand."""
TRAINED, PUBLISHED = "aqd", "detection_ssd_mobilenet_v2_fixed_point"
"""Result files: of the detector that is trained here, and of published weights."""


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: a table for each result file."""
    return f"{_trained(folder / f'{TRAINED}.json')}\n{_published(folder / f'{PUBLISHED}.json')}"


def _trained(path: Path) -> str:
    if not path.exists():
        return "Trained here: not run.\n"
    result = load(path)
    rows = [dict(row) for row in result.rows]
    heads = list(rows[0])
    names = {row["row"] for row in rows}
    rows += [{"row": row.name} for row in ROWS if row.name not in names]
    facts = "; ".join(f"{name}: {value}" for name, value in result.facts)
    lines = table(heads, [tuple(row.get(head, "not run") for head in heads) for row in rows])
    return f"{facts}. `{result.command}`.\n\n{lines}"


def _published(path: Path) -> str:
    if not path.exists():
        return "SSD-MobileNetV2 in fixed point: not run.\n"
    result = load(path)
    return f"`{result.command}`.\n\n{table(('SSD-MobileNetV2 in fixed point', 'figure'), list(result.facts))}"
