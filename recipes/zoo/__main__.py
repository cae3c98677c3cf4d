"""Quantize every architecture of the table from ONNX and from torch, beside ONNX Runtime's own int8.

    python -m recipes.zoo [--only NAME ...] [--again] [--paths onnx] [--budgets none] [--folder out/zoo] [--out FILE]
    python -m recipes.zoo --list

A row is written as soon as a network is done; networks that have one are left out of the next run unless ``--again`` or
``--only`` says otherwise. ``python -m benchmarks.coverage_networks`` makes the page of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from oaq.errors import OaqError
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes.result_file import Result, load, stamp, write
from recipes.zoo.outcome import BUDGETS, PATHS, Row, measure
from recipes.zoo.table import ARCHITECTURES

NAME = "coverage_networks"


def _arguments(argv: list[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(
        "python -m recipes.zoo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="+", choices=sorted(ARCHITECTURES), metavar="NAME", help="these, anew")
    options.add_argument("--again", action="store_true", help="also networks that have a row")
    options.add_argument("--paths", nargs="+", choices=PATHS, default=PATHS, help="the rest of a row stays what it is")
    options.add_argument("--budgets", nargs="+", choices=BUDGETS, default=BUDGETS, help="likewise")
    options.add_argument("--folder", type=Path, default=Path("out/zoo"), help="float and int8 files")
    options.add_argument("--out", type=Path, default=Path("build/results") / f"{NAME}.json", help="result file")
    options.add_argument("--list", action="store_true", help="name the architectures and stop")
    return options.parse_args(argv)


def _stored(path: Path) -> dict[str, Row]:
    return {dict(row)["network"]: dict(row) for row in load(path).rows} if path.exists() else {}


def _is_complete(row: Row, parts: list[str]) -> bool:
    """Whether a row has the outcomes of all of these paths and budgets."""
    return all(f"{part} outcome" in row for part in parts)


def _store(rows: dict[str, Row], path: Path) -> None:
    ordered = tuple(tuple(rows[name].items()) for name in ARCHITECTURES if name in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(Result(NAME, "python -m recipes.zoo", stamp(), rows=ordered), path)


def _line(row: Row) -> str:
    parts = [f"peer {row['peer sqnr']} dB"]
    for path in PATHS:
        for budget in BUDGETS:
            key = f"{path} {budget}"
            outcome = row.get(f"{key} outcome", "-")
            parts.append(f"{key}: {outcome} {row.get(f'{key} sqnr', row.get(f'{key} reason', '')[:60])}")
    return "; ".join(parts)


def main(argv: list[str]) -> int:
    """Rows of all that was asked for."""
    flags = _arguments(argv)
    if flags.list:
        rows = tuple(
            (entry.name, entry.kind, str([part.shape for part in entry.inputs])) for entry in ARCHITECTURES.values()
        )
        say.tables([Table(f"{len(rows)} architectures", ("name", "kind", "inputs"), rows)])
        return 0
    rows = _stored(flags.out)
    parts = [f"{path} {budget}" for path in flags.paths for budget in flags.budgets]
    names = flags.only or [name for name in ARCHITECTURES if flags.again or not _is_complete(rows.get(name, {}), parts)]
    for index, name in enumerate(names, 1):
        start = time.perf_counter()
        try:
            row = {key: value for key, value in rows.get(name, {}).items() if not key.startswith(tuple(parts))}
            rows[name] = row | measure(ARCHITECTURES[name], flags.folder / name, flags.paths, flags.budgets)
        except OaqError as error:
            say.warn(f"{name}: {error}")
            return 1
        _store(rows, flags.out)
        say.warn(f"{index} of {len(names)}, {name}, {time.perf_counter() - start:.0f} s: {_line(rows[name])}")
    say.words(str(flags.out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
