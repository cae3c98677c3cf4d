r"""Load and run plans with hostile bytes under AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m benchmarks.fuzz_plans --cases 1000000 --seed 1      the campaign; writes results/plan_fuzz.json
    python -m benchmarks.fuzz_plans --cases 3000                  a short one

Plans of drawn programs, which use every kernel row of this machine, are written as bytes. ``native/fuzz/plans.cc``
changes them: bits, fields, arrays, sizes, with the checksum made right in 31 of 32 cases, so that the fields themselves
are tested. Each case is refused by an error, or loads and runs two samples in at most 4 MiB. A report of a sanitizer,
any other exception, or two minutes for one case ends the process; its number is printed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soundness.draw import draw
from oaq.errors import OaqError
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import cpu_isas, native_rows
from oaq.program.int_program import IntProgram
from oaq.program.plain import from_plain
from oaq.runtime import plan_bytes
from oaq.terminal import say

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "plans"
SEED = 0
PROGRAMS = 150
LARGEST = 30_000
"""Bytes of a plan: small ones are changed where it matters more often."""
OUTCOMES = ("loaded", "refused", "needs more memory than allowed", "ran")


def build() -> Path:
    """Build liboaq.so and fuzz_plans for sanitizers, where anything changed; returns their folder.

    Raises:
        RuntimeError: the build failed.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    tools = Path(sys.executable).parent
    options = ("OAQ_PYTHON=OFF", "OAQ_C=ON", "OAQ_FUZZ=ON", "OAQ_SANITIZE=ON")
    settings = (*options, f"Python_EXECUTABLE={sys.executable}", f"CMAKE_MAKE_PROGRAM={tools / 'ninja'}")
    configure = [tools / "cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", *(f"-D{setting}" for setting in settings)]
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, [tools / "cmake", "--build", BUILD]):
            process = subprocess.run(command, capture_output=True, text=True, env=outside())
            if process.returncode:
                raise RuntimeError(f"the build failed:\n{process.stdout[-4000:]}{process.stderr[-2000:]}")
    return BUILD


def outside() -> dict[str, str]:
    """The environment for programs that bring their own sanitizer."""
    return {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def plans() -> Iterator[tuple[Plan, bytes]]:
    """Small plans that together use every row that this machine runs."""
    missing = {row.name for row in native_rows() if row.available}
    programs = [program for index in range(PROGRAMS) for program in drawn_program(index)]
    for program in programs:
        for isa in cpu_isas():
            yield from _small(program, missing, isa=isa)
    for name in sorted(missing):
        for program in programs:
            if name in missing:
                yield from _small(program, missing, rows=[name])
    if missing:
        raise RuntimeError(f"{sorted(missing)} are in no drawn plan; draw more")


def drawn_program(index: int) -> list[IntProgram]:
    """Program ``index`` of the seed, or an empty list if it is not a program."""
    sample = draw(SEED, index)
    try:
        return [from_plain(sample.header, sample.arrays)]
    except OaqError:
        return []


def _small(
    program: IntProgram, missing: set[str], isa: str | None = None, rows: list[str] | None = None
) -> Iterator[tuple[Plan, bytes]]:
    try:
        planned = plan(program, isa=isa, rows=rows)
        content = plan_bytes(planned)
    except OaqError:
        return
    if len(content) <= LARGEST:
        missing.difference_update(node.row.name for node in planned.nodes)
        yield planned, content


def fuzz(cases: int, seed: int, folder: Path) -> tuple[int, tuple[int, ...], str]:
    """Run ``cases`` cases.

    Args:
        cases: how many.
        seed: case ``i`` is a function of it and ``i``.
        folder: for the plans.

    Returns:
        exit status (0: no crash), number of each of ``OUTCOMES``, and what the process said on its way.
    """
    program = build() / "fuzz_plans"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (_, content) in enumerate(plans()):
        files.append(folder / f"{number:03}.plan")
        files[-1].write_bytes(content)
    environment = outside() | {
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=0:max_allocation_size_mb=1024",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    command = [program, str(cases), str(seed), *files]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    counts = tuple(int(word) for word in process.stdout.split()) or (0,) * len(OUTCOMES)
    return process.returncode, counts, process.stderr


def main() -> int:
    """1 if a case crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    status, counts, words = fuzz(options.cases, options.seed, BUILD / "corpus")
    outcomes = dict(zip(OUTCOMES, counts, strict=True))
    say.words(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) + f"; exit status {status}")
    if status:
        say.words(words[-6000:])
        return 1
    if options.cases >= 1_000_000:
        from benchmarks.harness import Result, save, stamp

        facts = (("cases", str(options.cases)), ("crashes", "0"), *((name, str(n)) for name, n in outcomes.items()))
        notes = (
            "native code built with AddressSanitizer and UndefinedBehaviorSanitizer; the first report ends the process",
            "the checksum is made right in 31 of 32 cases; two samples of each plan that loads are run",
        )
        command = f"python -m benchmarks.fuzz_plans --cases {options.cases} --seed {options.seed}"
        save(Result("plan_fuzz", command, stamp(), facts=facts, notes=notes), "plan_fuzz")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
