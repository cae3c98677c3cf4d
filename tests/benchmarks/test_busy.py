"""When a run counts as disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import busy, harness
from benchmarks.busy import OTHERS, SPREAD, STOLEN, BusyMachine, Disturbance, Watch, until_quiet
from tests.report import samples

QUIET = Disturbance(others=OTHERS, stolen=STOLEN, spreads=(0.01, SPREAD, 0.9), seconds=1.0)


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_run_at_every_limit_is_quiet_and_one_noisy_executor_is_no_disturbance() -> None:
    QUIET.require_quiet()


@pytest.mark.parametrize(
    "disturbed",
    [
        Disturbance(OTHERS + 0.001, 0.0, (0.01,), 1.0),
        Disturbance(0.0, STOLEN + 0.001, (0.01,), 1.0),
        Disturbance(None, None, (0.01, SPREAD + 0.001, 0.9), 1.0),
    ],
)
def test_one_step_beyond_a_limit_is_busy(disturbed: Disturbance) -> None:
    with pytest.raises(BusyMachine, match="Nothing was written; run again when nothing else runs"):
        disturbed.require_quiet()


@pytest.mark.parametrize(("disturbed", "kept"), [(0, 0), (2, 2), (9, 2)])
def test_a_disturbed_run_is_tried_again_and_then_given_up(disturbed: int, kept: int) -> None:
    runs = iter(range(10))

    def measure() -> tuple[int, Disturbance]:
        index = next(runs)
        return index, Disturbance(0.5 if index < disturbed else 0.0, 0.0, (0.0,), 1.0)

    made, seen = until_quiet(measure, tries=3)
    assert (made, seen.quiet) == (kept, disturbed < 3)


def test_the_words_say_by_how_much_repeats_disagree_and_who_took_the_cpu() -> None:
    assert Disturbance(0.021, None, (0.01, 0.02, 0.3), 1.0).words == (
        "repeats disagree by 2.0% (quartiles, median executor; at most 30.0%); other processes took 2.1% of the CPUs; "
        "the hypervisor took an unknown part of the CPUs"
    )


def test_a_disturbed_run_leaves_the_result_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SCRATCH", tmp_path)
    result = harness.Result("networks", "python -m benchmarks.networks", samples.ENVIRONMENT)
    path = harness.save(result, "x", record=False, disturbance=QUIET)
    before = path.read_bytes()
    with pytest.raises(BusyMachine):
        harness.save(result, "x", record=False, disturbance=Disturbance(0.5, 0.0, (0.0,), 1.0))
    assert path.read_bytes() == before


def test_what_this_process_and_its_living_children_burn_is_theirs() -> None:
    program = "import sys, time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        before = busy.family_seconds()
        assert child.stdout is not None
        child.stdout.readline()
        burn(0.2)
        assert busy.family_seconds() - before >= 0.4
        child.communicate("")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be chosen here")
def test_what_is_not_ours_is_of_others(monkeypatch) -> None:
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        monkeypatch.setattr(busy, "family_seconds", lambda: 0.0)  # as if a stranger burned it
        watch = Watch([cpu])
        burn(0.5)
        seen = watch.disturbance([0.0])
    finally:
        os.sched_setaffinity(0, before)
    assert seen.others is not None
    assert seen.others * seen.seconds >= 0.4
