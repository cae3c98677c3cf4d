"""Every speed benchmark, then the figures and the picture of README.md: ``python -m benchmarks`` (``make bench``).

Each compares outputs with the reference before it times anything and takes turns with its peers. A benchmark whose
run was disturbed writes no file; the others go on, and the exit code is 1. Only with ``--record`` are documents and the
files that tests compare with written: those of this CPU, never those of another.

    python -m benchmarks [--record] [--prepare] [micro kernels networks litert session operators]

``--prepare`` only quantizes and exports the networks (minutes of work that need no quiet machine), into build/bench.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks import readme
from benchmarks.harness import add_record
from oaq.terminal import say

KEEP = "build/bench"
STEPS: dict[str, tuple[str, ...]] = {
    "micro": (),
    "kernels": (),
    "networks": ("--keep", KEEP),
    "litert": (),
    "session": (),
    "operators": ("--rounds", "10"),
}
"""Module and arguments, in the order in which they run; each in a process of its own."""


def run(step: str, *further: str) -> bool:
    """Whether a benchmark ended well."""
    start = time.monotonic()
    process = subprocess.run([sys.executable, "-m", f"benchmarks.{step}", *STEPS[step], *further], check=False)
    say.words(f"{step}: {time.monotonic() - start:.0f} s, exit code {process.returncode}\n")
    return not process.returncode


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], metavar="BENCHMARK", help=", ".join(STEPS))
    parser.add_argument("--prepare", action="store_true", help="only quantize and export the networks")
    add_record(parser)
    flags = parser.parse_args()
    if flags.prepare:
        return 0 if run("networks", "--prepare") else 1
    further = ["--record"] if flags.record else []
    failed = [step for step in flags.steps or STEPS if not run(step, *further)]
    if flags.record:
        readme.main()
    if failed:
        say.warn(f"without a new result: {', '.join(failed)}; their last ones, if any, stand")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
