"""Workers started, watched, restarted after a death with the file that killed them written down; state on the disk."""

from __future__ import annotations

import json
import os
import selectors
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.fuzz.seeds import read_seeds
from oaq.errors import FormatError
from oaq.program.atomic import write_atomically

JOB: Final = 20_000
"""Files per process; then a fresh one, so that slow leaks show as growth and not as a death."""
STANDSTILL: Final = 60.0
"""Seconds on one file without CPU time running out: a deadlock. (CPU time is the worker's own alarm.)"""
MOST_MEMORY: Final = 3 << 30
"""Resident bytes at which a worker is killed, to spare the machine; sanitizers alone take a few hundred MiB."""
MOST_DEFECTS: Final = 200
WORKER = ("-m", "benchmarks.fuzz.worker")
"""The program that judges, as Python's arguments."""


@dataclass(frozen=True)
class Campaign:
    """What is run.

    Attributes:
        folder: of seeds, state and saved files.
        seed: with a file's number it decides the file.
        cases: files in all.
        processes: at once.
        native: folder of the sanitized module; None for the installed one.
    """

    folder: Path
    seed: int
    cases: int
    processes: int = 1
    native: Path | None = None

    @property
    def state_path(self) -> Path:
        """File of the state."""
        return self.folder / f"state-{self.seed}.json"


@dataclass
class State:
    """How far a campaign is.

    Attributes:
        counts: files by "kind of breaking|stage reached|class of error".
        defects: (number, text).
        pending: (first, last) ranges not judged yet.
        cases: files that ranges were broken for.
        again: files that were defects and were judged once more.
    """

    counts: Counter[str] = field(default_factory=Counter)
    defects: list[tuple[int, str]] = field(default_factory=list)
    pending: list[tuple[int, int]] = field(default_factory=list)
    cases: int = 0
    again: int = 0

    def judge_defects_again(self) -> None:
        """Make every file that was a defect pending, and count it as it ends then."""
        self.pending += [(index, index + 1) for index, _ in self.defects]
        self.again += len(self.defects)
        self.defects = []
        self.counts = Counter({key: count for key, count in self.counts.items() if not key.endswith("|DEFECT")})

    @property
    def judged(self) -> int:
        """Files judged."""
        return sum(self.counts.values())

    def lines(self) -> list[str]:
        """A summary for people: files by kind and stage."""
        table: dict[str, Counter[str]] = {}
        for key, count in self.counts.items():
            kind, stage, _ = key.split("|")
            table.setdefault(kind, Counter())[stage] += count
        rows = [f"{kind}: " + ", ".join(f"{stage} {n}" for stage, n in table[kind].items()) for kind in sorted(table)]
        return [f"{self.judged} files, {len(self.defects)} defects", *rows]


class Worker:
    """One process and the range it judges."""

    def __init__(self, campaign: Campaign, job: tuple[int, int], number: int) -> None:
        self.first, self.last = job
        self.status = campaign.folder / f"status-{campaign.seed}-{number}"
        self.status.write_bytes(struct.pack("<q", self.first))
        command = [sys.executable, *WORKER, str(campaign.folder / "seeds"), str(campaign.seed)]
        command += [str(self.first), str(self.last), str(self.status)]
        self.errors = (campaign.folder / f"errors-{campaign.seed}-{number}").open("w+b")
        environment = _environment(campaign)
        if campaign.native is not None:
            command.append(str(campaign.native))
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, env=environment)
        self.moved = time.monotonic()
        self.noted = self.first

    @property
    def index(self) -> int:
        """The file it works on."""
        return struct.unpack("<q", self.status.read_bytes())[0]

    def check(self) -> str:
        """Kill it if it stands still or takes too much memory; returns why, "" if all is well."""
        index = self.index
        if index != self.noted:
            self.noted, self.moved = index, time.monotonic()
        reason = ""
        if time.monotonic() - self.moved > STANDSTILL + (60 if index == self.first else 0):
            reason = f"standing still for {STANDSTILL} s"
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            return ""
        if pages * os.sysconf("SC_PAGE_SIZE") > MOST_MEMORY:
            reason = f"more than {MOST_MEMORY >> 30} GiB of memory"
        if reason:
            self.process.kill()
        return reason


def _environment(campaign: Campaign) -> dict[str, str]:
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONWARNINGS": "error::RuntimeWarning"}
    environment["OAQ_MEMORY_LIMIT"] = "512M"  # half of what a file may raise the peak by
    if campaign.native is not None:
        compiler = os.environ.get("CXX", "c++")
        libraries = [
            subprocess.run(
                [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        environment["LD_PRELOAD"] = " ".join(libraries)
        environment["ASAN_OPTIONS"] = (
            "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=2048:quarantine_size_mb=16"
            ":malloc_context_size=1"
        )
        environment["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
    return environment


def load_state(campaign: Campaign) -> State:
    """The state on the disk, or a new one; more cases than it was broken for are added.

    Raises:
        FormatError: the file is damaged.
    """
    state = State()
    if campaign.state_path.exists():
        try:
            plain: dict[str, Any] = json.loads(campaign.state_path.read_text(encoding="utf-8"))
            defects = [(int(index), str(text)) for index, text in plain["defects"]]
            pending = [(int(first), int(last)) for first, last in plain["pending"]]
            state = State(Counter(plain["counts"]), defects, pending, int(plain["cases"]), int(plain.get("again", 0)))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{campaign.state_path}: is damaged: {error}. Remove it to begin anew") from error
    for first in range(state.cases, campaign.cases, JOB):
        state.pending.append((first, min(first + JOB, campaign.cases)))
    state.cases = max(state.cases, campaign.cases)
    return state


def save_state(campaign: Campaign, state: State, running: list[tuple[int, int]]) -> None:
    """Write the state, whole or not at all; what is running is pending."""
    plain = {
        "counts": dict(sorted(state.counts.items())),
        "defects": state.defects,
        "pending": [*running, *state.pending],
        "cases": state.cases,
        "again": state.again,
    }
    write_atomically(campaign.state_path, [json.dumps(plain, indent=1).encode()])


def run(campaign: Campaign, *, again: bool = False) -> State:
    """Judge every file that is pending, with ``again`` also those that were defects; returns the final state."""
    campaign.folder.mkdir(parents=True, exist_ok=True)
    state = load_state(campaign)
    if again:
        state.judge_defects_again()
    workers: dict[int, Worker] = {}
    selector = selectors.DefaultSelector()
    while (state.pending and len(state.defects) < MOST_DEFECTS) or workers:
        for number in range(campaign.processes):
            if number not in workers and state.pending and len(state.defects) < MOST_DEFECTS:
                workers[number] = worker = Worker(campaign, state.pending.pop(0), number)
                assert worker.process.stdout is not None
                selector.register(worker.process.stdout, selectors.EVENT_READ, number)
        for key, _ in selector.select(1.0):
            line = key.fileobj.readline()  # type: ignore[union-attr]
            if line:
                _take(campaign, state, workers[key.data], json.loads(line))
                save_state(campaign, state, [(worker.first, worker.last) for worker in workers.values()])
                continue
            worker = workers.pop(key.data)
            selector.unregister(key.fileobj)
            _bury(campaign, state, worker, "")
        for number, worker in list(workers.items()):
            reason = worker.check()
            if reason:
                workers.pop(number)
                selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
                _bury(campaign, state, worker, reason)
    save_state(campaign, state, [])
    return state


def _take(campaign: Campaign, state: State, worker: Worker, line: dict[str, Any]) -> None:
    state.counts.update(line["counts"])
    worker.first = line["next"]
    for index, text in line["defects"]:
        _keep(campaign, state, index, text)
    sys.stdout.write(f"{state.judged} files, {len(state.defects)} defects\n")
    sys.stdout.flush()


def _bury(campaign: Campaign, state: State, worker: Worker, reason: str) -> None:
    """Note what killed a worker, and leave the rest of its range to the next one."""
    code = worker.process.wait()
    if worker.process.stdout is not None:
        worker.process.stdout.close()
    worker.errors.seek(0)
    last_words = worker.errors.read()[-6000:].decode(errors="replace")
    worker.errors.close()
    if code == 0 and not reason:
        if worker.first < worker.last:
            state.pending.insert(0, (worker.first, worker.last))
        return
    index = worker.index
    _keep(campaign, state, index, f"{reason or f'the process ended with {code}'}\n{last_words}")
    state.counts["?|died|DEFECT"] += 1
    # Files before it in the chunk were judged but not reported: they are judged again, it is left out.
    ranges = [(worker.first, index), (index + 1, worker.last)]
    state.pending[:0] = [(first, last) for first, last in ranges if first < last]
    save_state(campaign, state, [])


def _keep(campaign: Campaign, state: State, index: int, text: str) -> None:
    """Write a defect down, and its file."""
    from benchmarks.fuzz.mutants import mutant

    state.defects.append((index, text))
    place = campaign.folder / "cases"
    place.mkdir(parents=True, exist_ok=True)
    broken = mutant(read_seeds(campaign.folder / "seeds"), campaign.seed, index)
    (place / f"{campaign.seed}-{index}{broken.suffix}").write_bytes(broken.content)
    sys.stdout.write(f"DEFECT at file {index} ({broken.kind}): {text[-3000:]}\n")
    sys.stdout.flush()
