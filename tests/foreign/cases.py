"""Cases for machines that this one is not, and what they compute of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.arm.emulator import Case
from benchmarks.fuzz_plans import drawn_program
from oaq.errors import OaqError
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime.plan_file import proved_bytes
from tests.strategies import random_input

Images = tuple[NDArray[np.uint8], ...]
DRAWN = 90
"""Programs of which those that native code computes have every step; a test counts them."""


@dataclass(frozen=True, eq=False)
class Forced:
    """A plan, what it is run on, and what it must compute.

    Attributes:
        name: of the case.
        planned: the plan.
        x: inputs of a batch.
        y: the reference's outputs.
        case: for the other machine.
    """

    name: str
    planned: Plan
    x: Images
    y: Images
    case: Case


def forced(name: str, planned: Plan, x: Images, threads: int = 1) -> Forced:
    """A case whose rows are those of ``planned``."""
    program = planned.program
    sizes = tuple(int(np.prod(program.tensors[output].shape)) for output in program.outputs)
    return Forced(name, planned, x, run(program, x).outputs, Case(proved_bytes(planned), x, sizes, threads))


def random_images(program: IntProgram, kind: str = "random", batch: int = 2, seed: int = 7) -> Images:
    """Integers for every input of a program."""
    rng = np.random.default_rng(seed)
    specs = [program.tensors[name] for name in program.inputs]
    return tuple(random_input(rng, (batch, *spec.shape), spec.range, kind) for spec in specs)


def drawn_cases(table: Sequence[KernelRow] | str, threads: Sequence[int] = (1,), every: int = 1) -> Iterator[Forced]:
    """Whole small programs, every so many of them, planned for a target or on given rows, with threads in turns."""
    for index in range(0, DRAWN, every):
        for program in drawn_program(index):
            try:
                planned = plan(program, table=table)
                x = random_images(program, seed=index)
                yield forced(f"program {index}", planned, x, threads=threads[index % len(threads)])
            except OaqError:  # what native code does not compute on any machine
                continue


def wrong(cases: Iterable[Forced], answers: Iterable[str | Sequence[NDArray[np.uint8]]]) -> Iterator[str]:
    """The cases that failed, or whose integers are not the reference's.

    Args:
        cases: in the order of their answers.
        answers: outputs of each, or why there are none.
    """
    for case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, str):
            yield f"{case.name}: {answer}"
            continue
        for computed, expected in zip(answer, case.y, strict=True):
            places = np.flatnonzero(computed.reshape(-1) != expected.reshape(-1))
            if places.size:
                yield f"{case.name}: {places.size} of {computed.size} integers differ, the first at {places[0]}"
