"""What few levels a channel score: a table of docs/accuracy.md, written from the result files of ``recipes.daq``.

``python -m benchmarks.accuracy_table`` writes it; what no file holds is "not run".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, load
from benchmarks.performance_table import table
from recipes.daq.choices import BITS, rows_of
from recipes.daq.superres import BLOCKS, TRAINED, trained_label

NAME: Final = "levels"
"""Name of the markers between which the table stands."""
COLUMNS: Final = ("PSNR on Set5", "PSNR on Set14", "PSNR on scikit-image", "runs on AVX2")
NOT_RUN: Final = "not run"


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: a row for every choice of levels."""
    photos, slices = _rows(folder / "daq_superres_x2.json"), _rows(folder / "daq_mri.json")
    labels = ["bicubic", "zero-filled", "float", "8 bits"]
    labels += [label for bits in BITS for label, _ in rows_of(bits, BLOCKS)]
    labels += [trained_label(mode, bits) for mode, bits in TRAINED]
    lines = [
        (label, *(_cell(photos, label, column) for column in COLUMNS), _cell(slices, label, "PSNR, dB"))
        for label in labels
    ]
    return table(("levels", *COLUMNS, "MR slices, dB"), lines)


def _rows(path: Path) -> Mapping[str, Mapping[str, str]]:
    if not path.exists():
        return {}
    rows = [dict(row) for row in load(path).rows]
    return {row["levels"]: row for row in rows}


def _cell(rows: Mapping[str, Mapping[str, str]], label: str, column: str) -> str:
    """A figure; "-" where a row has none, "not run" where there is no row and there could be one."""
    of_photos = column in COLUMNS
    other = ("zero-filled",) if of_photos else ("bicubic",)
    if label in other or (not of_photos and "trained" in label):
        return "-"
    return rows[label].get(column, "-") if label in rows else NOT_RUN
