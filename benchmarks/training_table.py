"""The tables of dithered gradients, teachers and calibrations, from what their benchmarks stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.harness import cpu_folders, load


@dataclass(frozen=True)
class Columns:
    """A table.

    Attributes:
        file: result file, without its suffix.
        facts: of the file, for the line above the table.
        heads: of the columns, by the names of cells in the file.
    """

    file: str
    facts: tuple[str, ...]
    heads: Mapping[str, str]


DITHER: Final = {
    "scale": "s",
    "workers": "workers",
    "top-1": "top-1, mean",
    "by seed": "by seed",
    "natural zeros": "zeros before",
    "zeros": "zeros",
    "products skipped": "products skipped",
    "bits": "bits",
    "noise": "noise / signal",
}
DITHER_FACTS: Final = ("training images", "epochs", "seeds")
TABLES: Final[Mapping[str, Columns]] = {
    **{
        f"dither-{network}": Columns(f"dither_{network}", DITHER_FACTS, DITHER)
        for network in ("lenet-300-100", "lenet-5", "vgg5", "resnet8")
    },
    "sparse-product": Columns(
        "sparse_product",
        (),
        {
            "layer": "layer",
            "zeros": "zeros",
            "dense": "dense, ms",
            "CSR": "CSR, ms",
            "CSR, made each time": "CSR made each time, ms",
            "dense / CSR made": "gain",
        },
    ),
    "distillation": Columns(
        "distillation_cifar10",
        ("training images", "bits", "epochs"),
        {"row": "", "top-1": "top-1, mean", "by seed": "by seed", "against labels": "against labels"},
    ),
    "calibration-mobilenet-v2": Columns(
        "calibration_mobilenet-v2",
        ("views", "made-up inputs", "steps"),
        {
            "calibrated on": "calibrated on",
            "calibration": "calibration",
            "bits": "bits",
            "labelled_right": "right of 20",
            "unseen_sqnr_db": "logit SQNR, dB",
            "unseen_agree": "agree with float",
        },
    ),
}


def block(name: str, folder: Path) -> str:
    """What belongs between the markers of a table."""
    columns = TABLES[name]
    file = f"{columns.file}.json"
    path = next((place / file for place in cpu_folders(folder, file)), folder / file)
    if not path.exists():
        return "Not run.\n"
    result = load(path)
    facts = dict(result.facts)
    above = "; ".join(f"{fact}: {facts[fact]}" for fact in columns.facts)
    lines = [tuple(columns.heads.values()), tuple("---:" if at else "---" for at in range(len(columns.heads)))]
    lines += [tuple(dict(row)[cell] for cell in columns.heads) for row in result.rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    above = f"{above[:1].upper()}{above[1:]}" if above else result.environment.cpu
    return f"{above}.\n`{result.command}`.\n\n{table}\n"
