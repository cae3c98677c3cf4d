"""Tables of piecewise weights, from result files of ``recipes.piecewise``: ``python -m benchmarks.piecewise_table``.

The whole ones stand in docs/how-to/piecewise-weights.md; docs/accuracy/piecewise.md has what integers do end to end.
Nothing is typed by hand between the markers; a test compares. Networks that no file holds are "not run".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, cpu_folders, load
from benchmarks.performance_table import table
from oaq.program.atomic import write_atomically

PAGE: Final = Path(__file__).parent.parent / "docs" / "how-to" / "piecewise-weights.md"
NAME: Final = "piecewise"
"""Name of the markers in docs/accuracy/piecewise.md."""
MARKED: Final = re.compile(r"(<!-- (?P<data>piecewise-[a-z]+): begin -->\n).*?(<!-- (?P=data): end -->)", re.DOTALL)
NETWORKS: Final = ("mobilenet-v2", "efficientnet-lite0")
NOT_RUN: Final = "not run"
SHORT: Final = ("W8A8", "W6A8", "W5A8", "piecewise 4, no budget", "piecewise 4", "piecewise 5")


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers of docs/accuracy/piecewise.md."""
    lines = [
        (network, line["weights"], *_precision(line), line["predicted ms, AVX2"], _measured(folder, network, line))
        for network in NETWORKS
        for line in _rows(folder, network)
        if line["table"] == "integers" and line["weights"] in SHORT
    ]
    head = (
        "network",
        "weights",
        "float's class first",
        "logit SQNR",
        "file",
        "AVX2, predicted ms",
        "AVX2, measured ms",
    )
    return table(head, lines) if lines else f"{NOT_RUN}\n"


def page_block(name: str, folder: Path = RESULTS) -> str:
    """What belongs between markers of the how-to: forms of 4 bits, the shape of the paper's table, or integers."""
    part = name.removeprefix("piecewise-")
    return "\n".join(f"{network}:\n\n{_part(folder, network, part)}" for network in NETWORKS)


def _part(folder: Path, network: str, part: str) -> str:
    lines = _rows(folder, network)
    if part == "integers":
        chosen = [line for line in lines if line["table"] == "integers"]
        return table(*_whole(folder, network, chosen)) if chosen else f"{NOT_RUN}\n"
    start = "forms" if part == "forms" else "the paper's table"
    chosen = [line for line in lines if line["table"].startswith(start)]
    head = ("weights", "stored bits", "weight SQNR", "logit SQNR", "right of 40", "+ BC: logit SQNR", "right of 40")
    keys = ("weights", "stored bits", "weight SQNR", "logit SQNR", "right of 40", "logit SQNR + BC", "right of 40 + BC")
    return table(head, [tuple(line[key] for key in keys) for line in chosen]) if chosen else f"{NOT_RUN}\n"


def _whole(
    folder: Path, network: str, lines: Sequence[Mapping[str, str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = (
        "weights",
        "float's class first, of 220 views",
        "logit SQNR",
        "file",
        "CIFAR-10, enlarged: class first, of 200",
        "logit SQNR",
        "run, quads",
        "run by positions",
        "AVX2, predicted ms",
        "measured ms",
    )
    rows = [
        (
            line["weights"],
            *_precision(line),
            _starting(line, "same class first, of 200"),
            line["logit SQNR, CIFAR-10"],
            line["average run, quads"],
            line["average run by positions, quads"],
            line["predicted ms, AVX2"],
            _measured(folder, network, line),
        )
        for line in lines
    ]
    return head, rows


def _precision(line: Mapping[str, str]) -> tuple[str, str, str]:
    """Views with float's class first, SQNR of logits, and bytes in parts of those of W8A8."""
    return _starting(line, "same class first, of 220"), line["logit SQNR, views"], line["part of W8A8's"]


def _starting(line: Mapping[str, str], start: str) -> str:
    return next(value for key, value in line.items() if key.startswith(start))


def _measured(folder: Path, network: str, line: Mapping[str, str]) -> str:
    """The median of the first CPU that was timed."""
    file = f"piecewise_times_{network}.json"
    path = next(iter(cpu_folders(folder, file)), folder) / file
    times = {row["weights"]: row["median ms"] for row in map(dict, load(path).rows)} if path.exists() else {}
    return times.get(f"avx2 {line['weights']}", NOT_RUN)


def _rows(folder: Path, network: str) -> list[dict[str, str]]:
    path = folder / f"piecewise_{network}.json"
    return [dict(row) for row in load(path).rows] if path.exists() else []


def replaced(text: str, folder: Path = RESULTS) -> str:
    """The how-to with the tables of the files."""
    return MARKED.sub(lambda match: match[1] + page_block(match["data"], folder) + match[3], text)


def main() -> int:
    """Rewrite docs/how-to/piecewise-weights.md; ``benchmarks.accuracy_table`` rewrites docs/accuracy/piecewise.md."""
    write_atomically(PAGE, [replaced(PAGE.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
