"""The figures and the picture of README.md, written from the result files: ``python -m benchmarks.readme``.

It writes the tables of docs/performance.md and of how-tos as well, so that one command brings documents up to date.

Nothing is typed by hand between the two markers; a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import RESULTS, Result, cpu_folders, load
from benchmarks.performance_table import main as tabulate
from benchmarks.plot import DRAWN, SAID, picture_of
from benchmarks.plot import main as draw
from benchmarks.reach_table import block as reach
from benchmarks.reach_table import main as tabulate_elsewhere
from benchmarks.tasks_table import block as tasks
from benchmarks.tasks_table import lines_of
from oaq.program.atomic import write_atomically
from oaq.report.data import Timing

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->"


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: a table per machine, a column per network; networks beside peers; tasks."""
    by_cpu: dict[str, dict[str, Result]] = {}
    for path in sorted(folder.glob("*/demo_*.json")):
        result = load(path)
        by_cpu.setdefault(result.environment.cpu, {})[path.stem.removeprefix("demo_")] = result
    tables = [_machine(cpu, results) for cpu, results in by_cpu.items()]
    by_peers: dict[tuple[str, int], dict[str, Result]] = {}
    for path in sorted(folder.glob("*/*-[0-9]*t.json")):
        result = load(path)
        if result.latency is not None:
            key = result.environment.cpu, result.latency.threads
            by_peers.setdefault(key, {})[path.stem.rpartition("-")[0]] = result
    for cpu in cpu_folders(folder, DRAWN):
        tables.append(f"![{SAID}]({picture_of(cpu).relative_to(README.parent).as_posix()})\n")
    tables += [_beside_peers(*key, results) for key, results in sorted(by_peers.items())]
    if tables and lines_of(folder):
        tables.append(f"By task, and beside ordinary int8 ([how](docs/accuracy.md#by-task)):\n\n{tasks(folder)}")
    if tables and (elsewhere := reach(folder)):
        tables.append(elsewhere)
    return "\n".join(tables) or "No result file yet.\n"


def _beside_peers(cpu: str, threads: int, results: Mapping[str, Result]) -> str:
    """Whole networks beside other runtimes: time, and precision on the very sample that is timed."""
    columns = {
        name: {_name(timing): _timed(timing) for timing in (result.latency.timings if result.latency else ())}
        for name, result in results.items()
    }
    lines = list(dict.fromkeys(line for column in columns.values() for line in column))
    rows = [["", *columns], ["---", *("---:" for _ in columns)]]
    rows += [[line, *(column.get(line, "-") for column in columns.values())] for line in lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    commands = ", ".join(dict.fromkeys(f"`{result.command}`" for result in results.values()))
    unit = f"{threads} thread{'s' if threads > 1 else ''}, batch 1"
    columns_note = "median time, and logit SQNR against float, if there is a float network, on the photo that is timed"
    return f"{cpu}, {unit}: {columns_note}. Made by {commands}.\n\n{table}\n"


def _timed(timing: Timing) -> str:
    precision, against, _ = timing.note.rpartition("; ")[2].partition(" against float")
    return f"{timing.median_ms:.2f} ms, {precision}" if against else f"{timing.median_ms:.2f} ms"


def _machine(cpu: str, results: Mapping[str, Result]) -> str:
    columns = {name: {**dict(result.facts), **_timings(result)} for name, result in results.items()}
    lines = list(dict.fromkeys(line for column in columns.values() for line in column))
    rows = [["", *columns], ["---", *("---:" for _ in columns)]]
    rows += [[line, *(column.get(line, "-") for column in columns.values())] for line in lines]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    example = next(iter(results.values()))
    versions = ", ".join(f"{name} {version}" for name, version in example.environment.versions if name != "oaq")
    commands = ", ".join(dict.fromkeys(f"`{result.command}`" for result in results.values()))
    return f"{cpu}; {example.environment.compiler}; {versions}. Made by {commands}, with `--record`.\n\n{table}\n"


def _timings(result: Result) -> dict[str, str]:
    if result.latency is None:
        return {}
    threads = result.latency.threads
    unit = f"batch {result.latency.batch}, {threads} thread{'s' if threads > 1 else ''}"
    return {f"{_name(timing)}: {unit}": f"{timing.median_ms:.2f} ms" for timing in result.latency.timings}


def _name(timing: Timing) -> str:
    return f"**{timing.name}**" if timing.ours else timing.name


def replaced(text: str, content: str) -> str:
    """``text`` with ``content`` between the markers."""
    before, begin, remainder = text.partition(BEGIN)
    _, end, after = remainder.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} lacks the markers {BEGIN.strip()} and {END}")
    return f"{before}{begin}{content}{end}{after}"


def main() -> int:
    """Rewrite the picture, the tables of docs/performance.md and of how-tos, and README.md."""
    draw()
    tabulate()
    tabulate_elsewhere()
    text = README.read_text(encoding="utf-8")
    write_atomically(README, [replaced(text, block()).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
