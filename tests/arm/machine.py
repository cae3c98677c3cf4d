"""What tests of Arm's rows share: their table, and what an emulated CPU computes of cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from benchmarks.arm.build import AARCH64, ARMV7
from benchmarks.arm.emulator import NoEmulator, emulator, run_cases
from oaq.kernels.targets import ARM, TARGETS
from tests.foreign.cases import Forced, wrong
from tests.foreign.rows import RowTable

TABLE = RowTable({row.name: row for name in ARM for row in TARGETS[name].table}, threads=(2, 5))
"""Every row that plans for Arm may take, by name."""
ROWS = TABLE.rows
CPUS_OF = {
    "scalar": ("cortex-a53", "max"),
    "neon": ("cortex-a53", "cortex-a72", "max"),
    "dotprod": ("max",),
    "i8mm": ("max",),
}
"""Emulated CPUs that run each instruction set."""

NOT_RUN = {AARCH64: "Arm rows NOT RUN", ARMV7: "ARMv7 rows NOT RUN"}
"""What a test that needs an emulator says where there is none; tests/conftest.py lists it loudly."""


def require_emulator(machine: str = AARCH64) -> None:
    """Skip, loudly, where no emulator of ``machine`` can be had."""
    try:
        emulator(machine)
    except NoEmulator as error:
        pytest.skip(f"{NOT_RUN[machine]}: {error}")


def differences(cases: Iterable[Forced], cpu: str) -> Iterator[str]:
    """The cases that fail on an emulated ``cpu``, or compute other integers than the reference."""
    cases = list(cases)
    return wrong(cases, run_cases([case.case for case in cases], cpu))
