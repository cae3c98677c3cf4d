"""What few levels a channel score, and how long a frame takes: tables of docs/accuracy/few-levels.md.

``python -m benchmarks.accuracy_table`` writes it; what no file holds is "not run".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, Result, load
from benchmarks.performance_table import table
from recipes.daq.choices import BITS, rows_of
from recipes.daq.superres import BLOCKS, TRAINED, trained_label

NAME: Final = "levels"
"""Name of the markers between which the table stands."""
COLUMNS: Final = ("PSNR on Set5", "PSNR on Set14", "PSNR on scikit-image", "runs on AVX2")
TIMED: Final = ("frame, ms", "as fast as 8 bits, no budget", "runs")
NOT_RUN: Final = "not run"


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: a row for every choice of levels, then times."""
    photos, slices = _rows(folder / "daq_superres_x2.json"), _rows(folder / "daq_mri.json")
    labels = ["bicubic", "zero-filled", "float", "8 bits"]
    labels += [label for bits in BITS for label, _ in rows_of(bits, BLOCKS)]
    photos = {**photos, **_rows(folder / "daq_trained_x2.json")}
    labels += [trained_label(mode, bits) for mode, bits in TRAINED]
    lines = [
        (label, *(_cell(photos, label, column) for column in COLUMNS), _cell(slices, label, "PSNR, dB"))
        for label in labels
    ]
    scores = table(("levels", *COLUMNS, "MR slices, dB"), lines)
    timed = sorted(folder.glob("*/levels_1t.json"))
    times = table(("EDSR-mini x2", "CPU", *TIMED), [row for path in timed for row in times_of(load(path))])
    return f"{scores}\n{times}" if timed else f"{scores}\nTimes: not run.\n"


def times_of(result: Result) -> list[tuple[str, ...]]:
    """Each choice of levels: milliseconds of a frame, how many times as fast as 8 bits without a budget, runs."""
    latency = result.latency
    if latency is None:
        return []
    base = next(timing.median_ms for timing in latency.timings if timing.name == latency.baseline)
    rows = []
    for timing in latency.timings:
        label, _, isa = timing.name.rpartition(", ")
        runs = timing.note.rpartition("runs of ")[2].removesuffix(" steps")
        times = f"{base / timing.median_ms:.2f}x"
        rows.append((label, f"{result.environment.cpu}, {isa}", f"{timing.median_ms:.0f}", times, runs))
    return rows


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
