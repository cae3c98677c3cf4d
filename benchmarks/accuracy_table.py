"""The tables of docs/accuracy.md and docs/accuracy/, written from the result files.

    python -m benchmarks.accuracy_table

Nothing is typed by hand between the markers; a test compares. Cells that no file holds are "not run".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean

from benchmarks import (
    detector_table,
    headline_table,
    levels_table,
    piecewise_table,
    pruning_table,
    restoration_table,
    superres_table,
    tasks_table,
    training_table,
    wrapnet_table,
)
from benchmarks.accuracy import CAMPAIGNS, file_name
from benchmarks.accuracy_cells import ACCUMULATORS, METHODS, PRECISIONS
from benchmarks.harness import RESULTS, Result, cpu_folders, load
from oaq.program.atomic import write_atomically

DOCS = Path(__file__).parent.parent / "docs"
DOCUMENTS = (DOCS / "accuracy.md", *sorted((DOCS / "accuracy").glob("*.md")))
MARKED = re.compile(r"(<!-- (?P<data>[a-z0-9-]+): begin -->\n).*?(<!-- (?P=data): end -->)", re.DOTALL)
HEAD = (
    "",
    "accumulator",
    "method",
    "top-1",
    "seeds",
    "zeros",
    "proved",
    "overflows",
    "top-1 if sums wrap",
    "cost",
    "ms",
)
NOT_RUN = "not run"
MODULES = (
    tasks_table, headline_table, superres_table, piecewise_table, pruning_table, restoration_table, levels_table,
    detector_table,
)  # fmt: skip
"""What has one table of its own."""


def block(name: str, folder: Path = RESULTS) -> str:
    """What belongs between the markers of a campaign, or of one of the tables that have a file of their own."""
    for module in MODULES:
        if name == module.NAME:
            return module.block(folder)
    if name in wrapnet_table.NAMES:
        return wrapnet_table.block(name, folder)
    if name in training_table.TABLES:
        return training_table.block(name, folder)
    path = folder / f"{file_name(name)}.json"
    if not path.exists():
        return "Not run.\n"
    result = load(path)
    cells: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for row in map(dict, result.rows):
        cells.setdefault((row["precision"], row["accumulator"], row["method"]), []).append(row)
    file = f"{file_name(name)}_times.json"
    times = _times(next(cpu_folders(folder, file), folder) / file)
    lines = [HEAD, tuple("---" if index < 3 else "---:" for index in range(len(HEAD)))]
    lines += [(*key, *_columns(cells.get(key, []), times.get("-".join(key), ("-", "-")))) for key in _keys(name)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_head(result, cells)}\n\n{table}\n"


def _keys(name: str) -> list[tuple[str, str, str]]:
    """Rows of the table in order; the baseline is looked at under every accumulator that the campaign knows."""
    keys = {cell.key[:3] for cell in CAMPAIGNS[name].cells()}
    keys |= {(precision, accumulator, "none") for precision, accumulator, _ in keys}
    ordered = product((f"W{bits}A{bits}" for bits in PRECISIONS), ACCUMULATORS, METHODS)
    return [key for key in ordered if key in keys]


def _head(result: Result, cells: Mapping[tuple[str, str, str], Sequence[Mapping[str, str]]]) -> str:
    example = next((row for rows in cells.values() for row in rows if "float" in row), None)
    exact = (
        "-" if example is None else f"{int(example['float']) / int(example['of']):.2%} of {example['of']} test images"
    )
    versions = dict(result.environment.versions)
    facts = dict(result.facts)
    gpu = f", trained on one {facts['device']}" if "device" in facts else ""
    return (
        f"Float network: {exact}. Each cell {facts.get('steps', '?')} steps of 128 images. {result.environment.cpu}"
        f"{gpu}, torch {versions.get('torch', '?')}; `{result.command}`."
    )


def _columns(rows: Sequence[Mapping[str, str]], times: tuple[str, str]) -> tuple[str, ...]:
    """The columns of one cell after its key; ``times``: predicted and measured."""
    if not rows:
        return (NOT_RUN, *("",) * (len(HEAD) - 4))
    finished = [row for row in rows if "failed" not in row]
    if not finished:
        return (f"refused: {rows[0]['failed'][:80].replace('|', '/')}", *("",) * (len(HEAD) - 4))
    first = finished[0]
    return (
        _spread([int(row["top1"]) / int(row["of"]) for row in finished]),
        str(len(finished)),
        f"{mean(float(row['sparsity']) for row in finished):.0%}",
        _proved(finished),
        first["overflows"],
        _wrapped(finished),
        *times,
    )


def _proved(rows: Sequence[Mapping[str, str]]) -> str:
    """Layers proved of those asked for, the worst of all seeds; 32 bits are proved or no program is made."""
    worst = min((row["proved"] for row in rows), key=lambda text: int(text.partition("/")[0]))
    number, _, total = worst.partition("/")
    return "yes" if number == total else f"{number} of {total} layers"


def _wrapped(rows: Sequence[Mapping[str, str]]) -> str:
    if any(row["wrapped_top1"] == "-" for row in rows):
        return "-"
    return _spread([int(row["wrapped_top1"]) / int(row["of"]) for row in rows])


def _spread(values: Sequence[float]) -> str:
    """A percentage; of several the mean and half of what they span."""
    if len(values) == 1:
        return f"{100 * values[0]:.2f}"
    return f"{100 * mean(values):.2f} ± {50 * (max(values) - min(values)):.2f}"


def _times(path: Path) -> dict[str, tuple[str, str]]:
    """Predicted cost and measured milliseconds of each cell."""
    rows = map(dict, load(path).rows if path.exists() else ())
    return {row["cell"]: (f"{float(row['cost']):.3f}", row["ms"]) for row in rows}


def replaced(text: str, folder: Path = RESULTS) -> str:
    """The document with the tables of the files."""
    return MARKED.sub(lambda match: match[1] + block(match["data"], folder) + match[3], text)


def main() -> int:
    """Rewrite docs/accuracy.md and the pages under docs/accuracy."""
    for document in DOCUMENTS:
        write_atomically(document, [replaced(document.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
