"""What tests of WebAssembly's rows share: their table, cases, and what an engine computes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.arm.build import CannotBuild, cross_compiler
from benchmarks.arm.emulator import Case
from benchmarks.web.node import NoNode, node, run_cases
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow
from oaq.kernels.targets import TARGETS
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime.plan_file import proved_bytes

Images = tuple[NDArray[np.uint8], ...]
ROWS: dict[str, KernelRow] = {row.name: row for name in ("wasm", "wasm-relaxed") for row in TARGETS[name].table}
"""Every row that plans for WebAssembly may take, by name."""
TABLE = tuple(ROWS.values())
SUMMING = tuple(name for name, row in ROWS.items() if row.accumulator is not None)
BUILDS_OF = {"scalar": ("simd128",), "simd128": ("simd128", "relaxed"), "relaxed": ("relaxed",)}
"""Builds that have the rows of each instruction set and are tested with them."""

NOT_RUN = "WebAssembly rows NOT RUN"
"""What a test that needs an engine says where there is none; tests/conftest.py lists it loudly."""


@dataclass(frozen=True, eq=False)
class Forced:
    """A plan, what it is run on, and what it must compute.

    Attributes:
        name: of the case.
        planned: the plan.
        x: inputs of a batch.
        y: the reference's outputs.
        case: for the engine.
    """

    name: str
    planned: Plan
    x: Images
    y: Images
    case: Case


def require_engine() -> None:
    """Skip, loudly, where there is no engine or no compiler."""
    try:
        node()
        cross_compiler()
    except (NoNode, CannotBuild) as error:
        pytest.skip(f"{NOT_RUN}: {error}")


def forced(name: str, planned: Plan, x: Images) -> Forced:
    """A case whose rows are those of ``planned``."""
    program = planned.program
    sizes = tuple(int(np.prod(program.tensors[output].shape)) for output in program.outputs)
    return Forced(name, planned, x, run(program, x).outputs, Case(proved_bytes(planned), x, sizes))


def plan_for(program: IntProgram, row: str) -> Plan:
    """A plan that forces ``row``."""
    return plan(program, rows=[row], table=TABLE)


def differences(cases: Iterable[Forced], build: str) -> Iterator[str]:
    """The cases that fail in a build, or compute other integers than the reference."""
    cases = list(cases)
    answers = run_cases([forced_case.case for forced_case in cases], build)
    for forced_case, answer in zip(cases, answers, strict=True):
        if isinstance(answer, str):
            yield f"{forced_case.name}: {answer}"
            continue
        for computed, expected in zip(answer, forced_case.y, strict=True):
            wrong = np.flatnonzero(computed.reshape(-1) != expected.reshape(-1))
            if wrong.size:
                yield f"{forced_case.name}: {wrong.size} of {computed.size} integers differ, the first at {wrong[0]}"
