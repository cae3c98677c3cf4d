"""Data races of native code, by ThreadSanitizer: programs of every operator, on two and three threads.

    python -m benchmarks.races                     # build for ThreadSanitizer, run, write results/races.json
    python -m benchmarks.races --programs 20       # fewer, nothing is written

Programs come from ``benchmarks.soundness``, by seed and index. Each runs on every instruction set of this CPU, with one
caller and with three that each have a session; results are compared with one thread's. Generated assembly is not
instrumented: what it reads and writes is not seen, what surrounds it is.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.native_module import load_native

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build" / "races"
SEED: Final = 20_261_129
REPORT: Final = "WARNING: ThreadSanitizer"
STAMP: Final = re.compile(r"^(\d+) programs, (\d+) sessions, (\d+) runs$", re.MULTILINE)


def build() -> None:
    """Build the native module for ThreadSanitizer in ``build/races``."""
    tools = Path(sys.executable).parent
    python, ninja = f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"
    configure = ["-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", "-DOAQ_SANITIZE=thread", python, ninja]
    for arguments in (configure, ["--build", str(BUILD)]):
        subprocess.run([tools / "cmake", *arguments], check=True, stdout=subprocess.DEVNULL)


def run_all(programs: int) -> None:
    """Run the programs in this process, whose native module is the one of ``build``, and print how many ran."""
    load_native(BUILD, "thread")
    from benchmarks.soundness.draw import draw
    from benchmarks.soundness.inputs import draw_inputs
    from oaq.errors import OaqError
    from oaq.kernels.plan import Plan, plan
    from oaq.kernels.table import cpu_isas
    from oaq.program.plain import from_plain
    from oaq.runtime import Session

    accepted = sessions = runs = 0

    def compare(planned: Plan, x: dict[str, np.ndarray], threads: int) -> int:
        expected = Session(planned, 1).run_integers(x)
        session = Session(planned, threads)
        for _ in range(3):
            for got, other in zip(session.run_integers(x), expected, strict=True):
                np.testing.assert_array_equal(got, other)
        return 3

    for index in range(programs):
        sample = draw(SEED, index)
        try:
            program = from_plain(sample.header, sample.arrays)
            plans = [plan(program, isa) for isa in cpu_isas()]
        except OaqError:
            continue
        x = draw_inputs(sample.header, sample.arrays, sample.draws)
        for planned in plans:
            runs += compare(planned, x, 2) + compare(planned, x, 3)
            callers = [threading.Thread(target=compare, args=(planned, x, 2)) for _ in range(3)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            sessions, runs = sessions + 5, runs + 9
        accepted += 1
    sys.stdout.write(f"{accepted} programs, {sessions} sessions, {runs} runs\n")


def child(programs: int) -> tuple[int, tuple[int, ...], str]:
    """Run them under ThreadSanitizer, in a process of its own.

    Returns:
        reports, (programs, sessions, runs), and what the sanitizer said.

    Raises:
        RuntimeError: the process did not finish.
    """
    compiler = os.environ.get("CXX", "c++")
    library = subprocess.run([compiler, "-print-file-name=libtsan.so"], check=True, capture_output=True, text=True)
    command = [sys.executable, "-m", "benchmarks.races", "--inside", "--programs", str(programs)]
    environment = os.environ | {
        "LD_PRELOAD": library.stdout.strip(),
        "TSAN_OPTIONS": "halt_on_error=0 exitcode=0 report_signal_unsafe=0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    stamp = STAMP.search(done.stdout)
    if stamp is None:
        raise RuntimeError(f"the runs ended early, by {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stderr.count(REPORT), tuple(int(number) for number in stamp.groups()), done.stderr


def main() -> int:
    """1 if there is a race."""
    from benchmarks.harness import add_record

    parser = argparse.ArgumentParser(description="look for data races of native code")
    parser.add_argument("--programs", type=int, default=0, help="how many to draw; 120, and a result file, if none")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    add_record(parser)
    options = parser.parse_args()
    programs = options.programs or 120
    if options.inside:
        run_all(programs)
        return 0
    build()
    reports, counts, words = child(programs)
    sys.stdout.write(f"{reports} reports by ThreadSanitizer in {counts[0]} programs, {counts[1]} sessions, ")
    sys.stdout.write(f"{counts[2]} runs\n{words[:6000] if reports else ''}")
    if not options.programs:
        from benchmarks.harness import Result, save, stamp

        facts = zip(("reports", "programs", "sessions", "runs"), map(str, (reports, *counts)), strict=True)
        save(Result("races", "python -m benchmarks.races", stamp(), facts=tuple(facts)), "races", record=options.record)
    return int(reports > 0)


if __name__ == "__main__":
    raise SystemExit(main())
