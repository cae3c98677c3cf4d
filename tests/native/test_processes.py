"""Sessions in forked and spawned children, in daemon threads, at the end of the interpreter, under Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oaq.kernels.plan import plan
from oaq.runtime import Session
from tests.native.machine import ROWS, layer

PROLOGUE = """
import multiprocessing, os, pickle, signal, sys, threading, time
import numpy as np
import oaq
from oaq.numerics.ranges import IntRange
from tests.native.machine import ROWS, layer
from tests.strategies import random_input

program = layer(ROWS["gemm_u8s8_scalar"], 40, 16, size=(24, 24), kernel=(3, 3), padding=(1, 1, 1, 1))
x = random_input(np.random.default_rng(0), (2, 24, 24, 16), IntRange(0, 255))
session = oaq.Session(oaq.plan(program), threads=2)

def same(other):
    return all(np.array_equal(a, b) for a, b in zip(other.run_integers(x), expected))
"""
FORK = """
expected = session.run_integers(x)
for time_of_fork in range(3):
    child = os.fork()
    if not child:
        os._exit(0 if same(session) and same(session) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert same(session)
child = os.fork()
if not child:
    grandchild = os.fork()
    if not grandchild:
        ok = same(session)
        del session
        os._exit(0 if ok else 3)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("done")
"""
FORK_DURING_A_RUN = """
expected = session.run_integers(x)
large = np.repeat(x, 400, axis=0)
runner = threading.Thread(target=lambda: [session.run_integers(large) for _ in range(20)], daemon=True)
runner.start()
time.sleep(0.1)
for time_of_fork in range(5):
    child = os.fork()
    if not child:
        os._exit(0 if same(session) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    time.sleep(0.01)
print("done")
"""
POOL = """
expected = session.run_integers(x)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(same, [session] * 4))
    print("done")
"""
SPAWN = """
import tests.native.spawned as spawned
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        got = pool.apply(spawned.integers, (session, x))
    assert all(np.array_equal(a, b) for a, b in zip(got, session.run_integers(x)))
    print("done")
"""
DAEMON = """
def run_for_ever():
    while True:
        session.run_integers(x)

for _ in range(8):  # the interpreter ends while some threads wait for its lock already
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        continue
    for _ in range(12):
        threading.Thread(target=run_for_ever, daemon=True).start()
    time.sleep(0.1)
    sys.exit()
print("done", flush=True)
"""
GLOBAL = """
session.run_integers(x)
keep = [session, oaq.Session(session.plan, threads=3)]
print("done", flush=True)
"""
INTERRUPT = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start commands in the background with it ignored
small = np.repeat(x, 5000, axis=0)
threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()
expected = session.run_integers(x)
try:
    for _ in range(1000):
        session.run_integers(small)
except KeyboardInterrupt:
    assert same(session)
    print("done")
"""
INTERRUPT_OF_A_BATCH = """
from oaq.kernels import _native
from oaq.runtime import plan_bytes, plan_memory

signal.signal(signal.SIGINT, signal.default_int_handler)
content = plan_bytes(oaq.plan(program, isa="scalar"), plan_memory(program))  # slow: the batch would take seconds
large = np.repeat(x, 2000, axis=0)

def interrupt(y):
    while np.all(y[0] == 0xA5):  # until the first sample is there
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

for threads in (1, 2):  # samples one by one, whole samples in every thread
    y = np.full((len(large), 24, 24, 40), 0xA5, np.uint8)
    threading.Thread(target=interrupt, args=(y,), daemon=True).start()
    try:
        _native.Session(content, threads, 1 << 30).run([large], [y])
        print("not interrupted")
    except KeyboardInterrupt:
        assert np.all(y[-1] == 0xA5), "the whole batch was computed first"
print("done")
"""
PROGRAMS = {
    "a forked child": FORK,
    "a child forked during a run": FORK_DURING_A_RUN,
    "a pool of forked workers": POOL,
    "a spawned worker": SPAWN,
    "daemon threads at the end": DAEMON,
    "sessions that nobody deletes": GLOBAL,
    "an interrupt": INTERRUPT,
    "an interrupt inside a batch": INTERRUPT_OF_A_BATCH,
}


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_a_session_of_two_threads_works_in(code: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import tests.native.conftest\n{PROLOGUE}{code}", encoding="utf-8")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")


def test_more_threads_than_the_system_starts_is_an_error_of_ours(tmp_path: Path) -> None:
    """RLIMIT_NPROC does not bind the superuser, so address space runs out instead: each thread reserves a stack."""
    code = (
        "import resource\nimport oaq\nfrom oaq.kernels.plan import plan\n"
        "from tests.native.machine import ROWS, layer\n"
        "planned = plan(layer(ROWS['gemm_u8s8_scalar'], 8, 8))\n"
        "oaq.Session(planned)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))\n"
        "try:\n    oaq.Session(planned, threads=256)\nexcept oaq.MemoryLimit as error:\n    print(error)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=root)
    assert "of 256 threads can be started" in done.stdout or "not enough memory" in done.stdout, done.stderr


def test_threads_may_be_a_numpy_integer() -> None:
    assert Session(plan(layer(ROWS["gemm_u8s8_scalar"], 8, 8)), np.int64(2)).threads == 2
