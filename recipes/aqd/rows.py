"""Rows of the comparison: which batch norms, how many bits; each is trained once and kept with what it was made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import torch

import oaq
from oaq.program.int_program import IntProgram
from oaq.qat import QatNetwork, convert
from oaq.tasks import task_metadata
from recipes.aqd.garments import Garments
from recipes.aqd.network import Fcos, task_of
from recipes.aqd.scoring import Answers, Compared, answers_of, by_torch
from recipes.aqd.train import Bits, train_float, train_integers
from recipes.checkpoint import is_trained, require_steps
from recipes.detection.networks import renamed
from recipes.detection.samples import Sample
from recipes.networks import load_weights

TEST: Final = 2_000_001
"""Seed of the test crops."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        levels: each level has batch norms of its own; False: one for all.
        bits: of the integers; None: float.
    """

    levels: bool
    bits: Bits | None = None

    @property
    def name(self) -> str:
        """As files are called."""
        norms = "levels" if self.levels else "shared"
        if self.bits is None:
            return f"float-{norms}"
        proved = "-proved" if self.bits.method == "proved" else ""
        return f"{norms}-{self.bits.wide}{proved}"


ROWS: Final = (
    *(Row(levels, bits) for levels in (False, True) for bits in (None, Bits(4), Bits(2))),
    Row(True, Bits(4, "proved")),
)


@dataclass(frozen=True)
class Course:
    """What rows are made with.

    Attributes:
        folder: of everything that is kept.
        float_steps, steps: of training, float and integers.
        batch: crops in a step.
        images: test crops.
    """

    folder: Path
    float_steps: int
    steps: int
    batch: int
    images: int


@dataclass(frozen=True)
class Score:
    """What a row scored.

    Attributes:
        name: of the row.
        seed: of weights and crops.
        ap, ap50: in per cent.
        layers: that sum products; 0 in float.
        lanes: of them, those whose sums are proved in 16-bit lanes without a spill on the way.
        outputs, different: numbers compared with the network in training, and those that differ.
    """

    name: str
    seed: int
    ap: float
    ap50: float
    layers: int = 0
    lanes: int = 0
    outputs: int = 0
    different: int = 0


def float_detector(row: Row, course: Course, garments: Garments, seed: int) -> Fcos:
    """The float network of a row, trained if it is not, in eval mode.

    Raises:
        FormatError: what an earlier run left is damaged, of another network, or of more steps.
    """
    path = course.folder / f"{Row(row.levels).name}-{seed}.pt"
    require_steps(path, course.float_steps)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        net = Fcos(levels=row.levels)
    if not is_trained(path, course.float_steps):
        train_float(net, garments, path, steps=course.float_steps, seed=seed, batch=course.batch)
    load_weights(net, path)
    return net.eval()


def score_row(row: Row, course: Course, garments: Garments, samples: Sequence[Sample], seed: int) -> Score:
    """Train and score a row, or take what an earlier run scored with the same course."""
    path = course.folder / f"{row.name}-{seed}.json"
    course_of = {**asdict(replace(course, folder=Path())), "folder": ""}
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["course"] == course_of:
            return Score(**kept["score"])
    net = float_detector(row, course, garments, seed)
    if row.bits is None:
        answers = answers_of(by_torch(net), samples, f"{row.name}, seed {seed}")
        score = Score(row.name, seed, answers.ap, answers.ap50)
    else:
        network = integers_of(row, net, course, garments, seed)
        program = keep_program(row, network, course, seed)
        answers, score = score_program(row, program, network, samples, seed)
    path.write_text(json.dumps({"course": course_of, "score": asdict(score)}), encoding="utf-8")
    return score


def integers_of(row: Row, net: Fcos, course: Course, garments: Garments, seed: int) -> QatNetwork:
    """The integers of a row, trained if they are not."""
    assert row.bits is not None
    path = course.folder / f"{row.name}-{seed}.pt"
    require_steps(path, course.steps)
    return train_integers(net, garments, row.bits, path, steps=course.steps, seed=seed, batch=course.batch)


def keep_program(row: Row, network: QatNetwork, course: Course, seed: int) -> IntProgram:
    """The program of a row, with its task, written as ``.oaq``."""
    program = convert(network, row.name)
    metadata = {**program.metadata, **task_metadata(renamed(task_of(), program.outputs))}
    program = replace(program, metadata=metadata)
    oaq.save(program, course.folder / f"{row.name}-{seed}.oaq")
    return program


def score_program(
    row: Row, program: IntProgram, network: QatNetwork, samples: Sequence[Sample], seed: int
) -> tuple[Answers, Score]:
    """What the native session says of the test crops, beside the network in training."""
    plan = oaq.plan(program)
    compared = Compared(oaq.Session(plan), network)
    answers = answers_of(compared, samples, f"{row.name}, seed {seed}")
    layers = [planned for planned in plan.nodes if planned.schedule is not None]
    score = Score(
        row.name, seed, answers.ap, answers.ap50, len(layers), lanes_of(program), compared.outputs, compared.different
    )
    return answers, score


def lanes_of(program: IntProgram) -> int:
    """Layers whose sums are proved to stay in 16-bit lanes of AVX2 over all of K, without a spill on the way."""
    lanes = {node.name: oaq.qat.Target("avx2", 16) for node in program.summing_nodes()}
    return sum(verdict.proved and "no spill" in verdict.demand for verdict in oaq.qat.verdicts(program, lanes))
