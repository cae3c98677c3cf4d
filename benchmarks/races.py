"""Data races of native code, by ThreadSanitizer: programs of every operator, on two and three threads.

    python -m benchmarks.races                     # build for ThreadSanitizer, run, write results/races.json
    python -m benchmarks.races --programs 20       # fewer, nothing is written

Programs come from ``benchmarks.soundness``, by seed and index. Each runs on every instruction set of this CPU: whole
samples in each thread, single samples in chunks that suit the steps, and in chunks so many that threads share even the
shortest step (few ones, where independent steps run side by side, and many); with one caller and with three that each
have a session. Dynamic layers run from three callers, who share the process's pools. Results are compared with one
thread's. Generated assembly is not instrumented: what it reads and writes is not seen, what surrounds it is.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.cmake_build import cmake_build
from benchmarks.native_module import load_native

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build" / "races"
SEED: Final = 20_261_129
LIMIT: Final = 1 << 30
REPORT: Final = "WARNING: ThreadSanitizer"
STAMP: Final = re.compile(r"^(\d+) programs, (\d+) sessions, (\d+) runs$", re.MULTILINE)


def build() -> None:
    """Build the native module for ThreadSanitizer in ``build/races``."""
    cmake_build(BUILD, ("OAQ_SANITIZE=thread",))


def run_all(programs: int) -> None:
    """Run the programs in this process, whose native module is the one of ``build``, and print how many ran."""
    load_native(BUILD, "thread")
    from benchmarks.soundness.draw import draw
    from benchmarks.soundness.inputs import draw_inputs
    from oaq.errors import OaqError
    from oaq.kernels.plan import Plan, plan
    from oaq.kernels.table import cpu_isas, native_module
    from oaq.program.plain import from_plain
    from oaq.runtime import Session, plan_bytes, plan_memory

    accepted = sessions = runs = 0

    def compare(planned: Plan, x: dict[str, np.ndarray], threads: int) -> int:
        """Whole samples, then single ones, in chunks as suit the steps, few, and many."""
        expected = Session(planned, 1).run_integers(x)
        content, single = plan_bytes(planned, plan_memory(planned.program)), {name: v[:1] for name, v in x.items()}
        inputs = planned.program.inputs
        for chunks in (0, 2 * threads, 5 * threads + 1):
            session = native_module().Session(content, threads, LIMIT, chunks)
            for batch in (x, single, single):
                results = [np.empty_like(law[: len(batch[inputs[0]])]) for law in expected]
                session.run([np.ascontiguousarray(batch[name]) for name in inputs], results)
                for result, law in zip(results, expected, strict=True):
                    np.testing.assert_array_equal(result, law[: len(result)])
        return 9

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
            by_callers(lambda planned=planned, x=x: compare(planned, x, 2))
            sessions, runs = sessions + 15, runs + 27
        accepted += 1
    for isa in cpu_isas():
        sessions, runs = sessions + 8, runs + dynamic_layers(isa)
    sys.stdout.write(f"{accepted} programs, {sessions} sessions, {runs} runs\n")


def by_callers(call: Callable[[], object]) -> None:
    """Three threads that do the same at once."""
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(call) for _ in range(3)]:
            future.result()


def dynamic_layers(isa: str) -> int:
    """Layers of every law from three callers, on few and on many rows; returns how many runs there were."""
    from oaq.dynamic import DynamicLayer, DynamicSession, plan_layer
    from oaq.dynamic.law import LAWS
    from oaq.numerics.affine import Affine

    rng = np.random.default_rng(0)
    weight = rng.integers(-16, 17, (96, 64)).astype(np.int8)
    for law in LAWS:
        constant = Affine(0.02, 128) if law == "constant" else None
        layer = DynamicLayer("layer", weight, np.full(96, 0.01, np.float32), law=law, constant=constant)
        planned = plan_layer(layer, isa)
        single, shared = DynamicSession(planned, 1), DynamicSession(planned, 3)
        for rows in (3, 200):
            x = rng.normal(size=(rows, 64)).astype(np.float32)
            (expected,) = single.run(x)
            by_callers(lambda run=shared.run, x=x, y=expected: np.testing.assert_array_equal(run(x)[0], y))
    return 6 * len(LAWS)


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
