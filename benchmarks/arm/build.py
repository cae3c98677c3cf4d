"""The native core for AArch64 and for ARMv7 Linux as static programs, by the compiler of the ziglang wheel.

python -m benchmarks.arm.build       prints where the first program for AArch64 is
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.cmake_build import ROOT
from benchmarks.cross_build import cross_build

AARCH64: Final = "aarch64"
ARMV7: Final = "armv7"
"""The machine of 32 bits, which has the rows for any CPU."""
BUILDS: Final[Mapping[str, Path]] = {AARCH64: ROOT / "build" / "arm", ARMV7: ROOT / "build" / "armv7"}
"""Folder of each build, by machine."""
PROGRAM = "run_plans"
REALS = "run_reals"
"""Runs the loops that take and give reals, one by one."""


def build(program: str = PROGRAM, machine: str = AARCH64) -> Path:
    """Build both programs where anything changed; returns the path of one.

    Args:
        program: ``PROGRAM`` or ``REALS``.
        machine: ``AARCH64`` or ``ARMV7``.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    cross_build(BUILDS[machine], f"{machine}-linux", "OAQ_RUN_PLANS=ON")
    return BUILDS[machine] / program
