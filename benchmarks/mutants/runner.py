"""A warm process whose forks run trials: numpy and pytest are loaded once, oaq anew, as mutated, in every fork.

    python -S -m benchmarks.mutants.runner           in a copy of the source

Each line of standard input is one job, a JSON object: ``do`` ("programs", "tests" or "record"), ``build`` (a folder
with a native module, "" for the one beside the source), ``cpu`` (seconds after which the fork is ended: it hangs) and
what the job takes. Each line of standard output is its result: ``failed``, "" if all is well, or what noticed; of
recording also what ``Watch`` noted. A fork that dies or stands still has noticed as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import hypothesis
import numpy as np
import pytest

WARM: Final = (np, hypothesis, pytest)
STANDSTILL: Final = 180.0
"""Seconds without any CPU time: a deadlock, even on a busy machine where a test waits for a process it started."""
PROGRAMS: Final = "programs against the oracle"
Job = dict[str, Any]
Outcome = dict[str, Any]


def main() -> int:
    """Run jobs until standard input ends."""
    sys.dont_write_bytecode = True  # a file changed twice in a second, to the same size, would pass for the old one
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()
    return 0


def _forked(job: Job) -> Outcome:
    with tempfile.NamedTemporaryFile(prefix="oaq-trial-") as file:
        child = os.fork()
        if not child:
            _become_trial(job, file.name)
        status = _waited(child)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what tests started and left
        if status is None:
            return {"failed": f"{_name(job)}, which it made hang"}
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
            return {"failed": f"{_name(job)}, which it made hang"}
        content = Path(file.name).read_text(encoding="utf-8")
        return json.loads(content) if content else {"failed": f"{_name(job)}, which it ended ({status})"}


def _name(job: Job) -> str:
    return PROGRAMS if job["do"] == "programs" else "tests"


def _waited(child: int) -> int | None:
    """The status that the child ended with; None if it stood still and was killed."""
    used, moved = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks = sum(map(int, fields[11:15]))
        if ticks != used:
            used, moved = ticks, time.monotonic()
        if time.monotonic() - moved > STANDSTILL:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.05)


def _become_trial(job: Job, to: str) -> None:
    """Run the job, write its outcome, end the process; never returns."""
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (job["cpu"], job["cpu"] + 5))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        outcome = JOBS[job["do"]](job)
        Path(to).write_text(json.dumps(outcome), encoding="utf-8")
    except BaseException as error:
        Path(to).write_text(json.dumps({"failed": f"{_name(job)}: {type(error).__name__}"}), encoding="utf-8")
    finally:
        os._exit(0)


def _programs(job: Job) -> Outcome:
    """Examine programs ``first`` to ``last`` of two seeds."""
    _load(job["build"])
    from benchmarks.soundness.subject import Report, examine, executors

    report, machine = Report(), executors()
    for index in range(job["first"], job["last"]):
        for seed in (1, 2):
            examine(seed, index, machine, report)
            if report.differences:
                return {"failed": PROGRAMS}
    return {"failed": ""}


def _load(build: str) -> None:
    """Let tests of every folder meet the native module of ``build``, if that is not ""."""
    if build:
        from benchmarks.native_module import load_native

        load_native(Path(build), "")


def _pytest(job: Job, files: list[str], plugin: object, *options: str) -> int:
    _load(job["build"])
    fixed = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain")
    return int(pytest.main([*fixed, *options, *files], plugins=[plugin]))


def _tests(job: Job) -> Outcome:
    """Run the tests ``names`` until one fails."""
    from benchmarks.mutants.watch import Chosen

    plugin = Chosen(job["names"])
    files = list(dict.fromkeys(name.partition("::")[0] for name in job["names"]))
    code = _pytest(job, files, plugin, "-x")
    return {"failed": plugin.failed or ("" if code in (0, 5) else f"tests (code {code})")}


def _record(job: Job) -> Outcome:
    """Run all tests of ``place``, and note what they do."""
    from benchmarks.mutants.watch import Watch

    root = Path.cwd()
    plugin = Watch(root, None if job["build"] else root / "src" / "oaq")
    code = _pytest(job, [job["place"]], plugin)
    functions = {name: sorted(tests) for name, tests in plugin.functions.items()}
    return {
        "failed": "" if plugin.seconds else f"no test of {job['place']} runs (code {code})",
        "seconds": plugin.seconds,
        "functions": functions,
        "harmed": sorted(plugin.failed),
    }


JOBS: Final[dict[str, Callable[[Job], Outcome]]] = {"programs": _programs, "tests": _tests, "record": _record}


if __name__ == "__main__":
    raise SystemExit(main())
