"""Tables of pruning, from result files of ``recipes.pruning`` and ``benchmarks.skipped``.

``python -m benchmarks.pruning_table`` writes those of docs/how-to/prune.md; docs/accuracy/pruning.md has a short one,
which ``benchmarks.accuracy_table`` writes. Nothing is typed by hand between the markers; a test compares. What no file
holds is "not run".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, cpu_folders, load
from benchmarks.performance_table import table
from oaq.program.atomic import write_atomically

PAGE: Final = Path(__file__).parent.parent / "docs" / "how-to" / "prune.md"
NAME: Final = "pruning"
"""Name of the markers in docs/accuracy/pruning.md."""
MARKED: Final = re.compile(r"(<!-- (?P<data>pruning-[a-z0-9]+): begin -->\n).*?(<!-- (?P=data): end -->)", re.DOTALL)
NOT_RUN: Final = "not run\n"
ZEROS: Final = ("0 %", "50 %", "70 %", "80 %", "90 %", "control")
"""Points of a curve that documents show."""
Line = Mapping[str, str]


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers of docs/accuracy/pruning.md: accuracy and bit operations of the first set."""
    return _curves(folder, ("penbased",))


def page_block(name: str, folder: Path = RESULTS) -> str:
    """What belongs between markers of the how-to."""
    match name.removeprefix("pruning-"):
        case "curves":
            return _curves(folder, ("penbased", "letter", "magic"))
        case "widths":
            return _widths(folder)
        case "taggers":
            return _all_rows(folder / "pruning_taggers.json")
        case "cifar10":
            return _all_rows(folder / "pruning_cifar10.json")
        case "times":
            return _all_rows(_of_cpu(folder, "pruning_times.json"))
    return _skipped(_of_cpu(folder, "skipped.json"))


def _curves(folder: Path, sets: tuple[str, ...]) -> str:
    lines = _rows(folder / "pruning_curves.json")
    rows = []
    for name in sets:
        for bits in ("32", "12", "8", "6", "4"):
            for way in ("goes on", "from the first weights"):
                points_of_way = [
                    line for line in lines if (line["set"], line["bits"], line["way"]) == (name, bits, way)
                ]
                points = {line["zeros asked for"]: line for line in points_of_way}
                if points:
                    label = f"{bits}" if way == "goes on" else f"{bits}, {way}"
                    rows.append((name, label, *(_point(points.get(zeros)) for zeros in ZEROS)))
    head = ("set", "bits", *("dense" if zeros == "0 %" else f"{zeros} zeros" for zeros in ZEROS[:-1]), "dense control")
    return table(head, rows) if rows else NOT_RUN


def _point(line: Line | None) -> str:
    """Accuracy, and bit operations in thousands."""
    return "-" if line is None else f"{line['accuracy, %'].replace('+-', '±')}; {line['bit operations, k']} k"


def _widths(folder: Path) -> str:
    """Networks of random widths that no other of them beats in both figures."""
    lines = [line for line in _rows(folder / "pruning_curves.json") if line["way"] == "random widths"]
    if not lines:
        return NOT_RUN
    best, rows = -1.0, []
    for line in sorted(lines, key=lambda line: float(line["bit operations, k"])):
        if float(line["accuracy, %"]) > best:
            best = float(line["accuracy, %"])
            rows.append((line["zeros asked for"], line["bits"], line["accuracy, %"], line["bit operations, k"]))
    return table(("hidden widths", "bits", "accuracy, %", "bit operations, k"), rows)


def _skipped(path: Path) -> str:
    lines = _rows(path)
    places = dict.fromkeys((line["layer"], line["row"], line["quads of a block"]) for line in lines)
    rows = []
    for layer, row, quads in places:
        speeds = {
            line["zeros"]: f"{line['speed']} ({line['predicted speed']})"
            for line in lines
            if (line["layer"], line["row"], line["quads of a block"]) == (layer, row, quads)
        }
        rows.append((layer, row, quads, speeds["50 %"], speeds["75 %"], speeds["87.5 %"]))
    head = ("layer", "row", "quads of a block", "50 % zeros", "75 %", "87.5 %")
    return table(head, rows) if rows else NOT_RUN


def _all_rows(path: Path) -> str:
    lines = _rows(path)
    return table(tuple(lines[0]), [tuple(line.values()) for line in lines]) if lines else NOT_RUN


def _of_cpu(folder: Path, file: str) -> Path:
    """The file of the first CPU that has one."""
    return next(iter(cpu_folders(folder, file)), folder) / file


def _rows(path: Path) -> list[dict[str, str]]:
    return [dict(row) for row in load(path).rows] if path.exists() else []


def replaced(text: str, folder: Path = RESULTS) -> str:
    """The how-to with the tables of the files."""
    return MARKED.sub(lambda match: match[1] + page_block(match["data"], folder) + match[3], text)


def main() -> int:
    """Rewrite docs/how-to/prune.md; docs/accuracy/pruning.md is rewritten by ``benchmarks.accuracy_table``."""
    write_atomically(PAGE, [replaced(PAGE.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
