"""The tables of docs/accuracy.md, written from the result files: ``python -m benchmarks.accuracy_table``.

Nothing is typed by hand between the markers; a test compares. Cells that no file holds are "not run".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean

from benchmarks.accuracy import CAMPAIGNS, file_name
from benchmarks.accuracy_cells import ACCUMULATORS, METHODS, PRECISIONS
from benchmarks.harness import RESULTS, Result, load
from oaq.program.atomic import write_atomically

DOCUMENT = Path(__file__).parent.parent / "docs" / "accuracy.md"
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


def block(name: str, folder: Path = RESULTS) -> str:
    """What belongs between the markers of one campaign."""
    path = folder / f"{file_name(name)}.json"
    if not path.exists():
        return "Not run.\n"
    result = load(path)
    cells: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for one in map(dict, result.rows):
        cells.setdefault((one["precision"], one["accumulator"], one["method"]), []).append(one)
    times = _times(folder / f"{file_name(name)}_times.json")
    lines = [HEAD, tuple("---" if index < 3 else "---:" for index in range(len(HEAD)))]
    lines += [(*key, *_shown(cells.get(key, []), times.get("-".join(key), ("-", "-")))) for key in _keys(name)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_head(result, cells)}\n\n{table}\n"


def _keys(name: str) -> list[tuple[str, str, str]]:
    """Rows of the table in order; the baseline is looked at under every accumulator that the campaign knows."""
    asked = {one.key[:3] for one in CAMPAIGNS[name].cells()}
    asked |= {(precision, accumulator, "none") for precision, accumulator, _ in asked}
    every = product((f"W{bits}A{bits}" for bits in PRECISIONS), ACCUMULATORS, METHODS)
    return [key for key in every if key in asked]


def _head(result: Result, cells: Mapping[tuple[str, str, str], Sequence[Mapping[str, str]]]) -> str:
    some = next((one for rows in cells.values() for one in rows if "float" in one), None)
    exact = "-" if some is None else f"{int(some['float']) / int(some['of']):.2%} of {some['of']} test images"
    versions = dict(result.environment.versions)
    facts = dict(result.facts)
    gpu = f", trained on one {facts['device']}" if "device" in facts else ""
    return (
        f"Float network: {exact}. Each cell {facts.get('steps', '?')} steps of 128 images. {result.environment.cpu}"
        f"{gpu}, torch {versions.get('torch', '?')}; `{result.command}`."
    )


def _shown(rows: Sequence[Mapping[str, str]], times: tuple[str, str]) -> tuple[str, ...]:
    """The columns of one cell after its key; ``times``: predicted and measured."""
    if not rows:
        return (NOT_RUN, *("",) * (len(HEAD) - 4))
    done = [one for one in rows if "failed" not in one]
    if not done:
        return (f"refused: {rows[0]['failed'][:80].replace('|', '/')}", *("",) * (len(HEAD) - 4))
    first = done[0]
    return (
        _spread([int(one["top1"]) / int(one["of"]) for one in done]),
        str(len(done)),
        f"{mean(float(one['sparsity']) for one in done):.0%}",
        _proved(done),
        first["overflows"],
        _wrapped(done),
        *times,
    )


def _proved(rows: Sequence[Mapping[str, str]]) -> str:
    """Layers proved of those asked for, the worst of all seeds; 32 bits are proved or no program is made."""
    worst = min((one["proved"] for one in rows), key=lambda text: int(text.partition("/")[0]))
    number, _, of = worst.partition("/")
    return "yes" if number == of else f"{number} of {of} layers"


def _wrapped(rows: Sequence[Mapping[str, str]]) -> str:
    if any(one["wrapped_top1"] == "-" for one in rows):
        return "-"
    return _spread([int(one["wrapped_top1"]) / int(one["of"]) for one in rows])


def _spread(values: Sequence[float]) -> str:
    """A percentage; of several the mean and half of what they span."""
    if len(values) == 1:
        return f"{100 * values[0]:.2f}"
    return f"{100 * mean(values):.2f} ± {50 * (max(values) - min(values)):.2f}"


def _times(path: Path) -> dict[str, tuple[str, str]]:
    """Predicted cost and measured milliseconds of each cell."""
    rows = map(dict, load(path).rows if path.exists() else ())
    return {one["cell"]: (f"{float(one['cost']):.3f}", one["ms"]) for one in rows}


def replaced(text: str, folder: Path = RESULTS) -> str:
    """The document with the tables of the files."""
    return MARKED.sub(lambda found: found[1] + block(found["data"], folder) + found[3], text)


def main() -> int:
    """Rewrite docs/accuracy.md."""
    write_atomically(DOCUMENT, [replaced(DOCUMENT.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
