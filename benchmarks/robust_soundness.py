r"""Verdicts of ``oaq.robust`` beside exhaustive enumeration: random small programs, every input of every set run.

    python -m benchmarks.robust_soundness [--programs 100000] [--seed 1] [--processes 2] [--out FILE]

Programs of one to three nodes of every operator, both requantize laws, sets of at most 4,096 inputs, u8 outputs or last
sums. Truth comes from the oracle of ``benchmarks.soundness``, which shares no code with oaq. A difference is a "robust"
with a counterexample, a "refuted" without one, a witness outside its set, or a certificate that ``oaq.checker`` does
not accept. Enumeration is switched off, so that bounds and trees decide. Writes ``results/robust_soundness.json``, the
checkpoint too: the same command goes on where it ended, as long as the code that decides is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import SCRATCH, Result, load, stamp
from benchmarks.soundness.draft import Draft, Plain
from benchmarks.soundness.draw import CHANCES, NAMES
from benchmarks.soundness.laws import Undefined
from benchmarks.soundness.layers import KINDS
from benchmarks.soundness.numbers import Draws, interval, zero_point
from benchmarks.soundness.oracle import run as oracle_run
from oaq.checker.robust import check_robustness
from oaq.errors import ConfigError, OaqError
from oaq.program.plain import from_plain
from oaq.report.data import Environment
from oaq.robust import Options, box, robustness
from recipes import result_file

MOST_INPUTS = 4096
MOST_ELEMENTS = 40
SHAPES = ((1,), (2,), (3,), (4,), (6,), (2, 2, 1), (2, 1, 2), (3, 3, 1), (2, 2, 2), (1, 4, 1), (3, 2, 1))
BATCH = 100
SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Subject:
    """A program in plain form, and a box of inputs around one."""

    header: Plain
    arrays: dict[str, NDArray[Any]]
    x: NDArray[np.uint8]
    lo: NDArray[np.uint8]
    hi: NDArray[np.uint8]
    sums: bool


def draw(seed: int, index: int) -> Subject | None:
    """A subject, always the same; None where the draw has no property to decide."""
    choose = Random(f"robust/{seed}/{index}")
    draws = Draws(choose, np.random.default_rng(choose.getrandbits(64)), choose.random() < 0.5)
    draft = Draft(draws.fixed)
    ends = interval(choose)
    current = draft.input(choose.choice(SHAPES), ends, zero_point(choose, ends))
    kinds = choose.choices(NAMES, CHANCES, k=choose.choice((1, 2, 2, 3)))
    if choose.random() < 0.7:
        kinds[-1] = "Linear"
    for kind in kinds:
        for _ in range(6):
            before = (dict(draft.tensors), list(draft.nodes), dict(draft.arrays), list(draft.inputs))
            written = KINDS[kind][0](draws, draft, current)
            if written is not None and len(draft.inputs) == 1 and _small(draft):
                current = written
                break
            draft.tensors, draft.nodes, draft.arrays, draft.inputs = before
    if not draft.nodes or np.prod(draft.shape(current)) < 2:
        return None
    x, lo, hi = _box(choose, draft, None)
    subject = Subject(draft.header([current]), draft.arrays, x, lo, hi, choose.random() < 0.2)
    return _at_an_edge(choose, draft, subject) if choose.random() < 0.8 else subject


def _at_an_edge(choose: Random, draft: Draft, subject: Subject) -> Subject:
    """The subject with a box that ends near where the label changes, if some input of a few has another label."""
    least, most = draft.range_of(draft.inputs[0])
    pixels = [[choose.randint(least, most) for _ in range(subject.x.size)] for _ in range(64)]
    samples = np.array(pixels, np.uint8).reshape(-1, *subject.x.shape)
    last = next(node for node in subject.header["nodes"] if node["output"] == subject.header["outputs"][0])
    if subject.sums and last["op"] not in ("Linear", "Conv2d"):
        return subject
    try:
        labels = truth(subject, samples)
    except Undefined:
        return subject
    rare = min(set(labels.tolist()), key=labels.tolist().count)
    of_other_labels, rares = samples[labels != rare], samples[labels == rare]
    if not len(of_other_labels):
        return subject
    x, far_side = rares[0].astype(np.int64), of_other_labels[0].astype(np.int64)
    for _ in range(12):  # bisect between two labels
        middle = (x + far_side) // 2
        if truth(subject, middle[None].astype(np.uint8))[0] == rare:
            x = middle
        else:
            far_side = middle
    x, lo, hi = _box(choose, draft, x.ravel().tolist())
    return replace(subject, x=x, lo=lo, hi=hi)


def _small(draft: Draft) -> bool:
    return all(np.prod(draft.shape(name)) <= MOST_ELEMENTS for name in draft.tensors)


def _box(choose: Random, draft: Draft, centre: list[int] | None) -> tuple[NDArray[np.uint8], ...]:
    """An input (the one given, or any), and ends around it with at most ``MOST_INPUTS`` inputs between them."""
    shape, (least, most) = draft.shape(draft.inputs[0]), draft.range_of(draft.inputs[0])
    size = int(np.prod(shape))
    x = centre or [choose.randint(least, most) for _ in range(size)]
    lo, hi, count = list(x), list(x), 1
    for element in choose.sample(range(size), min(size, choose.randint(1, 6))):
        width = choose.choice((2, 3, 4, 8, 17, 64, 256))
        down = choose.randint(0, width - 1)
        first, last = max(least, x[element] - down), min(most, x[element] - down + width - 1)
        if count * (last - first + 1) <= MOST_INPUTS:
            lo[element], hi[element], count = first, last, count * (last - first + 1)
    return tuple(np.array(end, np.uint8).reshape(shape) for end in (x, lo, hi))


def inputs_of(subject: Subject) -> NDArray[np.uint8]:
    """Every input of the box, (n, ...)."""
    spans = [range(int(lo), int(hi) + 1) for lo, hi in zip(subject.lo.ravel(), subject.hi.ravel(), strict=True)]
    return np.array(list(itertools.product(*spans)), np.uint8).reshape(-1, *subject.x.shape)


def truth(subject: Subject, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The first greatest output (or last sum) of each input, by the oracle."""
    outcome = oracle_run(subject.header, subject.arrays, {subject.header["inputs"][0]: x})
    name = subject.header["outputs"][0]
    if subject.sums:
        node = next(node for node in subject.header["nodes"] if node["output"] == name)
        return outcome.sums[node["name"]].reshape(len(x), -1).argmax(axis=1)
    return outcome.tensors[name].reshape(len(x), -1).argmax(axis=1)


def examine(subject: Subject) -> tuple[str, str]:
    """(how it was decided, what is wrong or "")."""
    last = next(node for node in subject.header["nodes"] if node["output"] == subject.header["outputs"][0])
    if subject.sums and last["op"] not in ("Linear", "Conv2d"):
        return "no sums", ""
    members = inputs_of(subject)
    try:
        program = from_plain(subject.header, subject.arrays)
        labels = truth(subject, members)
        label = int(truth(subject, subject.x[None])[0])
        region = box(program, subject.x, subject.lo, subject.hi)
        options = Options(seconds=SECONDS, sums=subject.sums, enumerate=False)
        answer = robustness(program, subject.x, region, options)
    except (Undefined, ConfigError):
        return "not defined", ""
    except OaqError as error:
        return f"refused: {type(error).__name__}", ""
    decision = f"{answer.state}: {answer.stage}"
    is_robust = bool((labels == label).all())
    if answer.label != label:
        return decision, f"label {answer.label}, not {label}"
    if answer.state == "robust" and not is_robust:
        return decision, "called robust, but an input is called otherwise"
    if answer.witness is not None:
        inside = bool((subject.lo <= answer.witness).all() and (answer.witness <= subject.hi).all())
        if is_robust or not inside or truth(subject, answer.witness[None])[0] == label:
            return decision, "its witness refutes nothing"
    if answer.certificate is not None:
        proof = answer.certificate
        verdict = check_robustness(subject.header, subject.arrays, proof.header, proof.arrays)
        if not verdict.safe:
            return decision, f"the checker refuses its certificate: {verdict.findings[0]}"
    return decision, ""


def examine_range(job: tuple[int, int, int]) -> tuple[Counter[str], list[str]]:
    """Subjects first..last of a seed."""
    seed, first, last = job
    counts: Counter[str] = Counter()
    wrong = []
    for index in range(first, last):
        subject = draw(seed, index)
        decision, fault = ("nothing to decide", "") if subject is None else examine(subject)
        counts[decision] += 1
        if fault:
            wrong.append(f"{seed}/{index}: {decision}: {fault}")
    return counts, wrong


@dataclass(frozen=True)
class Progress:
    """What has been examined.

    Attributes:
        code: digest of everything that decides, draws or checks.
        seed: of the programs.
        examined: programs 0 to ``examined`` - 1 of the seed are counted.
        counts: by decision.
        wrong: differences.
    """

    code: str
    seed: int
    examined: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: tuple[str, ...] = ()


def code_digest() -> str:
    """sha256 of what verdicts, certificates, checks and draws depend on."""
    package = Path(str(importlib.import_module("oaq").__path__[0]))
    folders = [package / name for name in ("robust", "checker", "numerics", "program", "reference", "operators")]
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for folder in [*folders, Path(__file__).parent / "soundness"]:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def campaign(begun: Progress, programs: int, processes: int, path: Path) -> Progress:
    """Go on until ``programs`` subjects have been decided, beyond those with nothing to decide; saves every batch."""
    progress, environment = begun, stamp()  # of the code that runs, not of a later commit
    firsts: Iterator[int] = itertools.count(begun.examined, BATCH)
    with get_context("spawn").Pool(processes) as pool:
        while decided(progress.counts) < programs:
            jobs = [(begun.seed, first, first + BATCH) for first in itertools.islice(firsts, processes * 8)]
            for part, faults in pool.imap(examine_range, jobs):
                counts, wrong = progress.counts + part, (*progress.wrong, *faults)
                progress = replace(progress, examined=progress.examined + BATCH, counts=counts, wrong=wrong)
                write(progress, path, environment)
            sys.stdout.write(f"{decided(progress.counts)} decided, {len(progress.wrong)} differences\n")
            sys.stdout.flush()
    return progress


def write(progress: Progress, path: Path, environment: Environment) -> None:
    """The result so far."""
    facts = (
        ("programs decided", str(decided(progress.counts))),
        ("differences", str(len(progress.wrong))),
        ("programs examined", str(progress.examined)),
        ("seed", str(progress.seed)),
        ("code", progress.code),
    )
    rows = [(("decided by", decision), ("programs", str(n))) for decision, n in sorted(progress.counts.items())]
    rows += [(("difference", sentence),) for sentence in progress.wrong]
    notes = ("truth: every input run by benchmarks.soundness.oracle; every certificate checked",)
    command = f"python -m benchmarks.robust_soundness --programs {decided(progress.counts)} --seed {progress.seed}"
    result = Result(path.stem, command, environment, facts=facts, rows=tuple(rows), notes=notes)
    result_file.write(result, path)


def resumed(path: Path, seed: int) -> Progress:
    """The progress that a file holds; none where there is no file.

    Raises:
        ConfigError: it counts what other code decided, or programs of another seed.
    """
    start = Progress(code_digest(), seed)
    if not path.exists():
        return start
    result = load(path)
    facts = dict(result.facts)
    if (facts.get("code"), facts.get("seed")) != (start.code, str(seed)):
        raise ConfigError(f"{path}: counts verdicts of other code or another seed; move it away to begin anew")
    rows = [dict(row) for row in result.rows]
    counts = Counter({row["decided by"]: int(row["programs"]) for row in rows if "decided by" in row})
    wrong = tuple(row["difference"] for row in rows if "difference" in row)
    return replace(start, examined=int(facts["programs examined"]), counts=counts, wrong=wrong)


def decided(counts: Counter[str]) -> int:
    """Subjects called robust or refuted."""
    return sum(count for decision, count in counts.items() if decision.startswith(("robust:", "refuted:")))


def main() -> int:
    """Run, write, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=SCRATCH / "robust_soundness.json", help="result and checkpoint")
    arguments = parser.parse_args()
    begun = resumed(arguments.out, arguments.seed)
    progress = campaign(begun, arguments.programs, arguments.processes, arguments.out)
    sys.stdout.write(f"{arguments.out}: {dict(progress.counts)}\n")
    return 1 if progress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
