r"""Load and run plans with hostile bytes under AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m benchmarks.fuzz_plans --cases 1000000 --processes 2      the campaign; writes results/plan_fuzz.json
    python -m benchmarks.fuzz_plans --cases 3000                       a short one, which writes no result

Plans of drawn programs, which use every kernel row of this machine, are written as bytes. ``native/fuzz/plans.cc``
changes them: bits, fields, arrays, sizes, with the checksum made right in 31 of 32 cases, so that the fields themselves
are tested. Each case is refused by an error, or loads and runs two samples in at most 4 MiB. A report of a sanitizer,
any other exception, or two minutes for one case ends the process; the number of the case is printed.

Cases run in batches, many cases to a process. What each batch counted is kept in build/plans, and a campaign that was
stopped goes on with the batches that are missing, as long as the program and the plans are the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.cmake_build import cmake_build
from benchmarks.soundness.draw import draw
from oaq.errors import OaqError
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import cpu_isas, native_rows
from oaq.numerics.modular import Modular
from oaq.operators import Products
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.program.plain import from_plain
from oaq.runtime import plan_bytes
from oaq.terminal import say

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "sanitized" / "build"
SEED = 0
PROGRAMS = 150
LARGEST = 30_000
"""Bytes of a plan: small ones are changed where it matters more often."""
BATCH = 5_000
"""Cases of one process, which takes some seconds."""
CAMPAIGN = 1_000_000
"""Cases from which on a result file is written."""
OUTCOMES = ("loaded", "refused", "needs more memory than allowed", "ran")


class Crash(OaqError):
    """A case ended its process: what the process said, the number of the case included."""


@dataclass(frozen=True)
class Campaign:
    """What to run.

    Attributes:
        cases: how many.
        seed: case ``i`` is a function of it, of ``i`` and of the plans.
        program: ``fuzz_plans``, built for sanitizers.
        plans: files of bytes.
    """

    cases: int
    seed: int
    program: Path
    plans: tuple[Path, ...]

    @property
    def batches(self) -> int:
        """Batches of ``BATCH`` cases; the last may have fewer."""
        return -(-self.cases // BATCH)

    def size(self, batch: int) -> int:
        """Cases of a batch."""
        return min(BATCH, self.cases - batch * BATCH)

    @cached_property
    def digest(self) -> str:
        """sha256 of all that decides what a case does, its number apart."""
        content = hashlib.sha256(f"{self.seed} {BATCH}".encode())
        for path in (self.program, *self.plans):
            content.update(path.read_bytes())
        return content.hexdigest()


@dataclass(frozen=True)
class Progress:
    """What was counted.

    Attributes:
        outcomes: number of each of ``OUTCOMES``, by batch.
        seconds: of CPU, by batch.
    """

    outcomes: dict[int, tuple[int, ...]]
    seconds: dict[int, float]

    def totals(self) -> dict[str, int]:
        """Number of each of ``OUTCOMES`` over all batches."""
        sums: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        for counts in self.outcomes.values():
            sums.update(dict(zip(OUTCOMES, counts, strict=True)))
        return dict(sums)


def build() -> Path:
    """Build liboaq.so and fuzz_plans for sanitizers, where anything changed; returns their folder, `make sanitize`'s.

    Raises:
        RuntimeError: the build failed.
    """
    settings = ("OAQ_C=ON", "OAQ_FUZZ=ON", "OAQ_SANITIZE=ON")
    cmake_build(BUILD, settings, environment=outside())
    return BUILD


def outside() -> dict[str, str]:
    """The environment for programs that bring their own sanitizer."""
    return {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


def plans(*, tables: bool = False) -> Iterator[tuple[Plan, bytes]]:
    """Small plans that together use every row that this machine runs; with ``tables`` of residues, too."""
    missing = {row.name for row in native_rows() if row.available}
    drawn = [program for index in range(PROGRAMS) for program in drawn_program(index)]
    modular = [with_tables(program, 2 + index % 9) for index, program in enumerate(drawn)] if tables else []
    programs = [*drawn, *modular]
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


def with_tables(program: IntProgram, bits: int) -> IntProgram:
    """The program with tables of residues in the place of multipliers: its sums count modulo 2**``bits``."""
    rng, nodes = np.random.default_rng(bits), []
    for node in program.nodes:
        if isinstance(node.op, Products):
            y = program.tensors[node.output].range
            table = rng.integers(y.lo, y.hi + 1, (node.op.outputs, 1 << bits)).astype(np.uint8)
            node = replace(node, op=replace(node.op, requantize=Modular(table)))
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))


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


def campaign(cases: int, seed: int, folder: Path) -> Campaign:
    """Build the program and write the plans below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (_, content) in enumerate(plans(tables=True)):
        files.append(folder / f"{number:03}.plan")
        files[-1].write_bytes(content)
    return Campaign(cases, seed, build() / "fuzz_plans", tuple(files))


def fuzz(task: Campaign, checkpoint: Path, processes: int = 1) -> Progress:
    """Run the batches that the checkpoint lacks, and write it after each.

    Raises:
        Crash: a case ended its process. Batches that ended before it are in the checkpoint.
    """
    progress = read_checkpoint(task, checkpoint)
    missing = [batch for batch in range(task.batches) if batch not in progress.outcomes]
    with ThreadPoolExecutor(processes) as pool:
        jobs = pool.map(lambda batch: _run_batch(task, batch), missing)
        try:
            for batch, (counts, seconds) in zip(missing, say.track(jobs, "batches", total=len(missing)), strict=True):
                progress.outcomes[batch], progress.seconds[batch] = counts, seconds
                write_checkpoint(task, progress, checkpoint)
        finally:
            pool.shutdown(cancel_futures=True)
    return progress


def _run_batch(task: Campaign, batch: int) -> tuple[tuple[int, ...], float]:
    first = batch * BATCH
    arguments: Iterable[int] = (first, task.size(batch), task.seed)
    environment = outside() | {
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=0:max_allocation_size_mb=1024",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    with subprocess.Popen(
        [task.program, *map(str, arguments), *task.plans],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        output, words = process.communicate()
    if process.returncode:
        raise Crash(f"seed {task.seed}, cases from {first} on: exit status {process.returncode}\n{words[-6000:]}")
    *counts, milliseconds = (int(word) for word in output.split())
    return tuple(counts), milliseconds / 1e3


def read_checkpoint(task: Campaign, path: Path) -> Progress:
    """What earlier runs of the same campaign counted; nothing if there was none, or if it ran other bytes."""
    if not path.exists():
        return Progress({}, {})
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["digest"] != task.digest:
        say.warn(f"{path}: counts cases of another program, seed or plans; starting again")
        return Progress({}, {})
    progress = Progress({}, {})
    for batch, (counts, seconds) in content["batches"].items():
        # The last batch of a shorter campaign had fewer cases. Every case is one of the first three outcomes.
        if int(batch) < task.batches and sum(counts[:3]) == task.size(int(batch)):
            progress.outcomes[int(batch)], progress.seconds[int(batch)] = tuple(counts), seconds
    return progress


def write_checkpoint(task: Campaign, progress: Progress, path: Path) -> None:
    """Counts of every batch, whole or not at all."""
    batches = {batch: (counts, progress.seconds[batch]) for batch, counts in progress.outcomes.items()}
    text = json.dumps({"digest": task.digest, "batches": batches})
    write_atomically(path, [text.encode()])


def write_result(task: Campaign, progress: Progress, *, record: bool) -> Path:
    """The figures of a whole campaign."""
    from benchmarks.harness import Result, save, stamp

    seconds = sum(progress.seconds.values())
    facts = (
        ("cases", str(task.cases)),
        ("crashes", "0"),
        *((name, str(count)) for name, count in progress.totals().items()),
        ("plans that are changed", str(len(task.plans))),
        ("CPU minutes", f"{seconds / 60:.1f}"),
    )
    notes = (
        "native code built with AddressSanitizer and UndefinedBehaviorSanitizer; the first report ends the process",
        "the checksum is made right in 31 of 32 cases; two samples of each plan that loads are run",
    )
    command = f"python -m benchmarks.fuzz_plans --cases {task.cases} --seed {task.seed}"
    return save(Result("plan_fuzz", command, stamp(), facts=facts, notes=notes), "plan_fuzz", record=record)


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a case crashed."""
    from benchmarks.harness import add_record

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CAMPAIGN)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    add_record(parser)
    options = parser.parse_args(arguments)
    task = campaign(options.cases, options.seed, BUILD / "corpus")
    begun = time.perf_counter()
    try:
        progress = fuzz(task, BUILD / f"fuzz-{options.seed}.json", options.processes)
    except Crash as crash:
        say.words(str(crash))
        return 1
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in progress.totals().items())
    cpu = sum(progress.seconds.values())
    say.words(f"{outcomes}; {cpu:.1f} s of CPU, of which some may be earlier; {time.perf_counter() - begun:.1f} s now")
    if options.cases >= CAMPAIGN:
        say.words(str(write_result(task, progress, record=options.record)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
