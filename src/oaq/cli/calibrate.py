"""``oaq calibrate``: measure what this CPU takes for each unit of work, for plans that fit it."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from oaq.calibration import Calibration, calibrate, extend
from oaq.calibration.measure import ROUNDS
from oaq.kernels.cost import limit
from oaq.kernels.cost_files import COSTS_VARIABLE, costs_from, file_to_write, save_costs, to_json
from oaq.kernels.table import native_rows
from oaq.terminal import say
from oaq.terminal.table import Table

HELP = "measure this CPU, so that plans can be made for it"
DESCRIPTION = f"""\
Time synthetic layers on every kernel row this CPU runs, fit seconds per unit of
work (a step, a spill, a byte of weights, ...) and write them to a file. Takes
about half a minute; nothing else should run meanwhile.

Plans use the costs that ship with oaq, the same on every machine, until they
are told otherwise: {COSTS_VARIABLE}=calibrated takes this CPU's own, {COSTS_VARIABLE}=FILE
those of a file. --rows adds some rows to that table, also to one of another CPU:
their times are multiplied by how much longer it says that convolutions take than
they do here. Where {COSTS_VARIABLE} names a file, this command writes there;
otherwise to a file named after the CPU in XDG_CACHE_HOME (~/.cache) / oaq."""
EXAMPLES = f"""\
examples:
  oaq calibrate
  oaq calibrate --out costs.json --json
  oaq calibrate --rows coarsen_u8_scalar --out costs.json

then:
  {COSTS_VARIABLE}=calibrated oaq bench net.oaq --explain"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--rounds --out."""
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help=f"turns of every layer (default {ROUNDS})"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write here instead")
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW", help="only these, added to the table that plans use; the rest stays"
    )


def call(arguments: argparse.Namespace) -> int:
    """Measure, fit, write, say how well it fits."""
    path = arguments.out if arguments.out is not None else file_to_write()
    if arguments.rows:
        calibration = extend(costs_from(), arguments.rows, arguments.rounds, say.track)
    else:
        calibration = calibrate(arguments.rounds, say.track)
    save_costs(calibration.table, path)
    if arguments.json:
        quality = {
            row: {"points": points, "median": median, "nine in ten": most}
            for row, points, median, most in _quality(calibration)
        }
        say.document({"file": str(path), "costs": to_json(calibration.table), "error": quality})
        return 0
    say.words(f"{calibration.table.cpu}, second cache of {calibration.table.cache >> 10} KiB\n")
    say.tables([table(calibration)])
    say.words(f"\n{path}\nUse it: {COSTS_VARIABLE}=calibrated" if arguments.out is None else f"\n{path}")
    return 0


def table(calibration: Calibration) -> Table:
    """Per row: how well the fit predicts points it has not seen, and what its inner loop does in the long run."""
    limits = {row.name: limit(calibration.table, row) for row in native_rows() if row.name in calibration.fits}
    rows = tuple(
        (row, str(points), f"{100 * median:.1f} %", f"{100 * most:.1f} %", _giga(limits[row]))
        for row, points, median, most in _quality(calibration)
    )
    head = ("kernel row", "layers", "median error", "nine in ten below", "limit, GMAC/s")
    return Table("Seconds fitted, error on layers left out of the fit", head, rows, frozenset({1, 2, 3, 4}))


def _quality(calibration: Calibration) -> list[tuple[str, int, float, float]]:
    return [
        (row, len(fit.error), fit.median_error, float(np.quantile(np.abs(fit.error), 0.9)))
        for row, fit in calibration.fits.items()
    ]


def _giga(limited: float | None) -> str:
    return "-" if limited is None else f"{limited / 1e9:.0f}"
