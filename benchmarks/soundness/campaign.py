"""Millions of sample programs, in batches, by several processes, with a checkpoint after every few batches."""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import stamp
from benchmarks.soundness.draw import draw
from benchmarks.soundness.subject import Report, examine, executors
from oaq.errors import OaqError
from oaq.program.atomic import write_atomically
from oaq.program.files import save
from oaq.program.plain import from_plain
from oaq.report import codec
from oaq.terminal import say

BATCH: Final = 250
SAVED_EVERY: Final = 20
"""Batches between two checkpoints."""
REPORTED: Final = 20
"""Differences after which a campaign ends early."""


class OtherCode(OaqError):
    """The checkpoint was made by another oaq, another oracle, or with another seed."""


@dataclass(frozen=True)
class Campaign:
    """What to do.

    Attributes:
        programs: how many; whole batches are examined.
        seed: program ``i`` is a function of (seed, i).
        processes: that examine them.
        path: of the result, which is the checkpoint too. Reproductions are written beside it.
    """

    programs: int
    seed: int
    processes: int
    path: Path

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return -(-self.programs // BATCH)


@dataclass
class Progress:
    """What has been done.

    Attributes:
        code: digest of everything that decides an integer or a draw.
        completed: numbers of batches.
        seconds: of all processes together.
        report: counts and differences.
    """

    code: str
    completed: set[int]
    seconds: float
    report: Report


def code_digest() -> str:
    """sha256 of oaq's Python, its native module and this package: what a count is true of."""
    native = Path(str(importlib.import_module("oaq.kernels._native").__file__))
    package = Path(importlib.import_module("oaq").__path__[0])
    oracle = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(package.rglob("*.py")), native, *sorted(oracle.glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def examine_batch(job: tuple[int, int, int]) -> tuple[Report, float]:
    """Examine programs ``first`` to ``last`` of a seed, in a process of its own; seconds it took."""
    seed, first, last = job
    machine, report, begun = executors(), Report(), time.process_time()
    for index in range(first, last):
        try:
            examine(seed, index, machine, report)
        except Exception:  # whatever a program raises is a finding, with its place
            report.differences.append((index, [traceback.format_exc()]))
    return report, time.process_time() - begun


def run(campaign: Campaign) -> Progress:
    """Examine what is not examined yet, saving as it goes.

    Raises:
        OtherCode: the file at ``campaign.path`` counts programs of another tree or seed.
    """
    campaign.path.parent.mkdir(parents=True, exist_ok=True)
    progress = _begun(campaign)
    missing = [batch for batch in range(campaign.batches) if batch not in progress.completed]
    for number, (batch, (report, seconds)) in enumerate(_reports(campaign, missing)):
        progress.report.counts.update(report.counts)
        progress.report.differences += report.differences
        progress.completed.add(batch)
        progress.seconds += seconds
        for index, sentences in report.differences:
            reproduce(campaign, index, sentences)
        if number % SAVED_EVERY == SAVED_EVERY - 1:
            write(campaign, progress)
        if len(progress.report.differences) >= REPORTED:
            break
    write(campaign, progress)
    return progress


def reproduce(campaign: Campaign, index: int, sentences: list[str]) -> Path:
    """Write a program that shows a difference as an ``.oaq`` file, and what differs as text, beside the result."""
    path = campaign.path.with_suffix(f".{campaign.seed}-{index}.oaq")
    lines = [f"python -m benchmarks.soundness --seed {campaign.seed} --only {index}", *sentences]
    write_atomically(path.with_suffix(".txt"), ["\n".join(lines).encode() + b"\n"])
    sample = draw(campaign.seed, index)
    try:
        save(from_plain(sample.header, sample.arrays), path)
    except OaqError as error:
        say.warn(f"program {index} has no .oaq file: {error}")
    return path


def write(campaign: Campaign, progress: Progress) -> None:
    """The result so far; complete once all batches are completed."""
    counts = progress.report.counts
    content: dict[str, Any] = {
        "benchmark": "soundness",
        "command": f"python -m benchmarks.soundness --programs {campaign.programs} --seed {campaign.seed}",
        "environment": codec.encode(stamp()),
        "code": progress.code,
        "complete": len(progress.completed) == campaign.batches,
        "seconds": round(progress.seconds, 1),
        "differences": [{"program": index, "sentences": sentences} for index, sentences in progress.report.differences],
        "counts": {name: counts[name] for name in sorted(counts)},
        "seed": campaign.seed,
        "batches": _intervals(progress.completed),
    }
    write_atomically(campaign.path, [(json.dumps(content, indent=1) + "\n").encode()])


def _begun(campaign: Campaign) -> Progress:
    code = code_digest()
    if not campaign.path.exists():
        return Progress(code, set(), 0.0, Report())
    content = json.loads(campaign.path.read_text(encoding="utf-8"))
    if (content["code"], content["seed"]) != (code, campaign.seed):
        raise OtherCode(
            f"{campaign.path}: counts programs of another tree or seed; finish it there, or give another --out"
        )
    completed = {batch for first, last in content["batches"] for batch in range(first, last + 1)}
    differences = [(entry["program"], entry["sentences"]) for entry in content["differences"]]
    return Progress(code, completed, content["seconds"], Report(Counter(content["counts"]), differences))


def _reports(campaign: Campaign, missing: list[int]) -> Iterator[tuple[int, tuple[Report, float]]]:
    jobs = [(campaign.seed, batch * BATCH, (batch + 1) * BATCH) for batch in missing]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(campaign.processes, mp_context=context) as pool:
        results = zip(missing, pool.map(examine_batch, jobs), strict=True)
        try:
            yield from say.track(results, f"batches of {BATCH} programs", total=len(missing))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _intervals(completed: set[int]) -> list[list[int]]:
    """[first, last] of neighbouring numbers."""
    intervals: list[list[int]] = []
    for batch in sorted(completed):
        if intervals and intervals[-1][1] == batch - 1:
            intervals[-1][1] = batch
        else:
            intervals.append([batch, batch])
    return intervals
