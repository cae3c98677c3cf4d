"""The native core for AArch64 Linux as static programs, by the compiler of the ziglang wheel.

python -m benchmarks.arm.build       prints where the first program is
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.cmake_build import ROOT
from benchmarks.cross_build import cross_build

BUILD = ROOT / "build" / "arm"
PROGRAM = "run_plans"
REALS = "run_reals"
"""Runs the loops that take and give reals, one by one."""


def build(program: str = PROGRAM) -> Path:
    """Build both programs where anything changed; returns the path of one.

    Args:
        program: ``PROGRAM`` or ``REALS``.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    cross_build(BUILD, "aarch64-linux", "OAQ_RUN_PLANS=ON")
    return BUILD / program
