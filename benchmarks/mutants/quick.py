"""The first test of every mutant: a few hundred programs against the oracle, on a native module of one's own if asked.

    python -m benchmarks.mutants.quick [FOLDER OF A CMAKE BUILD]

Ends with 1 at the first difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.native_module import load_native

SEEDS = (1, 2)
PROGRAMS = 250


def main() -> int:
    """Examine; 1 if anything differs."""
    if len(sys.argv) > 1:
        load_native(Path(sys.argv[1]), "")
    from benchmarks.soundness.subject import Report, examine, executors

    report, machine = Report(), executors()
    for index in range(PROGRAMS):
        for seed in SEEDS:
            examine(seed, index, machine, report)
            if report.differences:
                sys.stdout.write(f"{report.differences}\n")
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
