"""Alphas and overflows over a training by the paper's rule: ``python -m benchmarks.accuracy_plot --folder DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.accuracy import prepared, trained
from benchmarks.accuracy_cells import Cell
from benchmarks.harness import RESULTS, SCRATCH, add_record
from oaq.qat import plot, read_log

CAMPAIGN, CELL = "cifar10", Cell(8, "oaq", "16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train that cell, or go on with it, and draw what its log holds."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy_plot", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="that of the campaign")
    add_record(parser)
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder = flags.folder / "plot"
    trained(prepared(CAMPAIGN, flags.folder), CELL, folder)
    plot(read_log(folder / "layers.csv"), (RESULTS if flags.record else SCRATCH) / f"alphas_{CAMPAIGN}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
