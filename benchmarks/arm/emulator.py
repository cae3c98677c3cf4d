"""Run plans under an emulator of a CPU of Arm: QEMU's user mode, wherever it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.arm.build import AARCH64, ARMV7, build

VARIABLES: Final[Mapping[str, str]] = {AARCH64: "OAQ_QEMU", ARMV7: "OAQ_QEMU_ARM"}
"""Environment variables: the emulator to use, by machine."""
PROGRAMS: Final[Mapping[str, str]] = {AARCH64: "qemu-aarch64", ARMV7: "qemu-arm"}
"""On PATH, with "-static" behind or without."""
FETCHED: Final = Path(sys.prefix) / "arm"
"""Where ``.ci/emulator`` puts both, and beside them the reason if it could not."""
CPUS: Final = ("cortex-a53", "cortex-a72", "max")
"""Two without dot products, and everything that the emulator knows."""
CPUS_OF_32_BITS: Final = ("cortex-a7",)
"""A Raspberry Pi 2 has it."""
SECONDS = 600


class NoEmulator(RuntimeError):
    """No emulator is to be had here; the message says where it was looked for."""


@dataclass(frozen=True, eq=False)
class Case:
    """A plan to be run.

    Attributes:
        plan: its bytes.
        inputs: uint8, (batch, ...) each.
        outputs: bytes of one sample of each output.
        threads: that share the work.
        runs: how often it is run.
    """

    plan: bytes
    inputs: tuple[NDArray[np.uint8], ...]
    outputs: tuple[int, ...]
    threads: int = 1
    runs: int = 1


def machine_of(cpu: str) -> str:
    """``AARCH64`` or ``ARMV7``, whichever an emulated ``cpu`` is."""
    return ARMV7 if cpu in CPUS_OF_32_BITS else AARCH64


def emulator(machine: str = AARCH64) -> Path:
    """The program that runs programs of ``machine`` here.

    Raises:
        NoEmulator: there is none.
    """
    variable, program = VARIABLES[machine], PROGRAMS[machine]
    names, named = (f"{program}-static", program), os.environ.get(variable)
    paths = [named] if named else [*(shutil.which(name) for name in names), str(FETCHED / program)]
    for path in paths:
        if path is not None and Path(path).is_file():
            return Path(path)
    reason = FETCHED / "reason"
    fetched = f"; it could not be fetched: {reason.read_text().strip()}" if reason.is_file() else ""
    where = f"{variable} names {named}, which is no file" if named else f"neither {' nor '.join(names)} is on PATH"
    raise NoEmulator(f"{where}{fetched}. On Debian: apt-get install qemu-user-static, or run .ci/emulator .venv/arm")


def run_program(program: Path, arguments: Sequence[str], cpu: str, text: str = "") -> str:
    """Standard output of a program for Arm on an emulated ``cpu``.

    Raises:
        NoEmulator: there is none.
        RuntimeError: the program failed; the message has what it said.
    """
    command = [str(emulator(machine_of(cpu))), "-cpu", cpu, str(program), *arguments]
    variables = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    process = subprocess.run(command, input=text, capture_output=True, text=True, timeout=SECONDS, env=variables)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: {process.stderr[-2000:]}")
    return process.stdout


def run_cases(cases: Iterable[Case], cpu: str) -> list[tuple[NDArray[np.uint8], ...] | str]:
    """What each case computes on ``cpu``, or why it failed; the emulator starts once for all.

    Raises:
        NoEmulator: there is none.
        RuntimeError: the program itself failed.
    """
    program, cases = build(machine=machine_of(cpu)), list(cases)
    with tempfile.TemporaryDirectory() as folder:
        lines = [write_case(case, Path(folder) / str(index)) for index, case in enumerate(cases)]
        verdicts = run_program(program, [], cpu, "".join(lines)).splitlines()
        if len(verdicts) != len(cases):
            raise RuntimeError(f"{len(cases)} cases and {len(verdicts)} answers")
        answers: list[tuple[NDArray[np.uint8], ...] | str] = []
        for index, (case, line) in enumerate(zip(cases, verdicts, strict=True)):
            answers.append(read_outputs(case, Path(folder) / str(index)) if line == "ok" else line)
        return answers


def write_case(case: Case, at: Path) -> str:
    """Write a case's files beside ``at``; returns its line for ``run_plans``."""
    plan, inputs, outputs = (at.with_suffix(suffix) for suffix in (".plan", ".x", ".y"))
    plan.write_bytes(case.plan)
    inputs.write_bytes(b"".join(array.tobytes() for array in case.inputs))
    fields = (plan, inputs, outputs, len(case.inputs[0]), case.threads, case.runs)
    return "\t".join(map(str, fields)) + "\n"


def read_outputs(case: Case, at: Path) -> tuple[NDArray[np.uint8], ...]:
    """The outputs of a case that was run, (batch, bytes of a sample) each."""
    content, batch = np.frombuffer(at.with_suffix(".y").read_bytes(), np.uint8), len(case.inputs[0])
    ends = np.cumsum([batch * size for size in case.outputs])
    return tuple(part.reshape(batch, -1) for part in np.split(content, ends[:-1]))
