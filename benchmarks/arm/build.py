"""The native core for AArch64 Linux as a static program, by the compiler of the ziglang wheel.

python -m benchmarks.arm.build       prints where the program is
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.cmake_build import ROOT
from benchmarks.cross_build import cross_build

BUILD = ROOT / "build" / "arm"
PROGRAM = "run_plans"


def build() -> Path:
    """Build ``run_plans`` where anything changed; returns its path.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    cross_build(BUILD, "aarch64-linux", "OAQ_RUN_PLANS=ON")
    return BUILD / PROGRAM
