"""Threads: every chunk of every stage is computed once, in order, whoever claims it, and whoever stalls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
FLAGS = ("-std=c++20", "-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{NATIVE}")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool alone; ``benchmarks.races`` runs whole sessions under ThreadSanitizer."""
    path = tmp_path_factory.mktemp("threads") / "threads"
    names = ("threads", "helper_threads", "shared_threads", "placement", "work", "isa")
    sources = (HERE / "threads.cc", *(NATIVE / "base" / f"{name}.cc" for name in names))
    subprocess.run([os.environ.get("CXX", "c++"), *FLAGS, "-o", path, *sources], check=True)
    return path


@pytest.mark.parametrize(("threads", "runs", "stalls"), [(1, 40, 0), (2, 200, 0), (3, 60, 1), (16, 20, 0)])
def test_each_chunk_is_computed_once_after_the_stage_before(
    program: Path, threads: int, runs: int, stalls: int
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [program, str(threads), str(runs), str(stalls)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr[-3000:]


PLACES = """
import os, time
import numpy as np
import oaq
from tests.report import small

allowed = os.sched_getaffinity(0)
before = set(os.listdir("/proc/self/task"))
program = small.program()
session = oaq.Session(oaq.plan(program), threads=2)
(helper,) = map(int, set(os.listdir("/proc/self/task")) - before)
x = np.zeros((1, *program.tensors[program.inputs[0]].shape), np.uint8)


def settles(cpus):  # a run after a slow one may be the caller's alone, and places nobody
    end = time.monotonic() + 20
    while os.sched_getaffinity(helper) != cpus and time.monotonic() < end:
        session.run_integers(x)
        time.sleep(0.01)
    return os.sched_getaffinity(helper) == cpus


for cpu in sorted(allowed) * 2:
    os.sched_setaffinity(0, {cpu})
    assert settles(allowed - {cpu} or allowed), (cpu, os.sched_getaffinity(helper))
chosen = {max(allowed)}  # where the caller is, and the helper was kept from
os.sched_setaffinity(helper, chosen)
for cpu in sorted(allowed):
    os.sched_setaffinity(0, {cpu})
    session.run_integers(x)
    time.sleep(0.3)
    session.run_integers(x)
    assert os.sched_getaffinity(helper) == chosen
print("apart")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: helpers are placed on Linux only")
def test_a_helper_wakes_on_another_cpu_than_its_callers_unless_someone_has_chosen_its_cpus() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLACES], capture_output=True, text=True, timeout=300, cwd=NATIVE.parent
    )
    assert (done.returncode, done.stdout) == (0, "apart\n"), done.stderr[-3000:]
