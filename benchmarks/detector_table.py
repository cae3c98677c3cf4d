"""What detectors of integers alone score: tables of docs/accuracy/detector.md, from the result files of two recipes.

``python -m benchmarks.accuracy_table`` writes it; what no file holds is "not run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, load
from benchmarks.headline_table import mean_text
from benchmarks.performance_table import table
from recipes.aqd.rows import ROWS

NAME: Final = "detector"
"""Name of the markers between which the tables stand."""
TRAINED, PUBLISHED = "aqd", "detection_ssd_mobilenet_v2_fixed_point"
"""Result files: of the detector that is trained here, and of published weights."""
SCORES: Final = ("AP", "AP50")
HEADS: Final = (
    "AP, mean",
    "by seed",
    "AP50, mean",
    "by seed",
    "layers in 16-bit lanes, no spill",
    "outputs that differ",
)


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: a table for each result file."""
    return f"{_trained(folder / f'{TRAINED}.json')}\n{_published(folder / f'{PUBLISHED}.json')}"


def _trained(path: Path) -> str:
    if not path.exists():
        return "Trained here: not run.\n"
    result = load(path)
    seeds = [dict(row) for row in result.rows]
    lines = [_line(name, [row for row in seeds if row["row"] == name]) for name in (row.name for row in ROWS)]
    facts = "; ".join(f"{name}: {value}" for name, value in result.facts)
    return f"{facts}. `{result.command}`.\n\n{table(('row', *HEADS), lines)}"


def _line(name: str, seeds: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """A row of the table: means over seeds, what each scored, and what is the same for all."""
    if not seeds:
        return name, *["not run"] * len(HEADS)
    means = [mean_text([seed[score] for seed in seeds]) for score in SCORES]
    by_seed = [", ".join(seed[score] for seed in seeds) for score in SCORES]
    same = ("; ".join(dict.fromkeys(seed[column] for seed in seeds)) for column in HEADS[2 * len(SCORES) :])
    return name, *(cell for pair in zip(means, by_seed, strict=True) for cell in pair), *same


def _published(path: Path) -> str:
    if not path.exists():
        return "SSD-MobileNetV2 in fixed point: not run.\n"
    result = load(path)
    return f"`{result.command}`.\n\n{table(('SSD-MobileNetV2 in fixed point', 'figure'), list(result.facts))}"
