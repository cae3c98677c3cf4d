"""One set of sources, two compilers: is what the other compiler builds as fast?

    python -m benchmarks.compilers FOLDER       (make clang-check builds it, and runs the native tests on it first)

Every row that sums products and every operator's row is timed by the session's own clock in a process per build and
turn, the two builds in turns; outputs are compared with the reference first. Matrix loops are generated assembly, the
same bytes by any compiler; the rest is C++. Writes ``results/compilers.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

from benchmarks.busy import Watch
from benchmarks.child import child
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.native_module import load_native
from oaq.report.latency import pinned, quartiles
from oaq.terminal import say

TURNS, ROUNDS = 6, 8
RUNS = (4, 64)
INSTALLED = "-"
WANTED = "Clang"


def speeds(folder: str) -> dict[str, float]:
    """GMAC/s by row and run in this process; an entry without a number says which build it was."""
    built = load_native(Path(folder), WANTED)["compiler"] if folder != INSTALLED else ""
    from benchmarks.kernels import points  # not before the module is there
    from oaq.kernels import _native
    from oaq.kernels.table import native_rows

    with pinned(1):
        timed = points(native_rows(), ROUNDS, RUNS)
    name = built or _native.build_info()["compiler"]
    return {name: 0.0, **{f"{point.row}, run {point.run or '-'}": point.gmacs for point in timed}}


def measure(folder: Path) -> tuple[list[str], dict[str, list[tuple[float, float]]]]:
    """The two compilers, ours first; for every row (installed, other) of each turn."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    names: list[str] = []
    for _ in range(TURNS):
        builds = [
            json.loads(child(["benchmarks.compilers", "--child", where], {"OMP_NUM_THREADS": "1"}))
            for where in (INSTALLED, str(folder.resolve()))
        ]
        names = [next(iter(build)) for build in builds]
        for row in list(builds[0])[1:]:
            pairs.setdefault(row, []).append((builds[0][row], builds[1][row]))
    return names, pairs


def main() -> int:
    """Measure, print, write the result file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.compilers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="of a CMake build by another compiler")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    add_record(parser)
    flags = parser.parse_args()
    if flags.child:
        say.words(json.dumps(speeds(flags.child)))
        return 0
    if flags.folder is None:
        parser.error("name the folder of the other build")
    with pinned(1) as cpus:
        watch = Watch(cpus)
        names, turns = measure(flags.folder)
    ratios = {row: [second / first for first, second in pairs] for row, pairs in turns.items()}
    spreads = [(high - low) / median(ratios[row]) for row in ratios for low, high in [quartiles(ratios[row])]]
    disturbance = watch.disturbance(spreads)
    rows = tuple(
        (
            ("row", row),
            (f"{names[0]}, GMAC/s", f"{median(ours for ours, _ in pairs):.1f}"),
            (f"{names[1]}, GMAC/s", f"{median(other for _, other in pairs):.1f}"),
            ("ratio", f"{median(ratios[row]):.3f}"),
        )
        for row, pairs in turns.items()
    )
    say.words("\n".join(str(dict(row)) for row in rows) + f"\n{disturbance.words}")
    facts = tuple(zip(("installed", "other"), names, strict=True))
    command = "make clang-check"
    result = Result("compilers", command, stamp(), facts=facts, rows=rows, notes=(disturbance.words,))
    say.words(str(save(result, "compilers", record=flags.record, disturbance=disturbance)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
