"""How many instructions an AArch64 program executes, counted by a plugin of QEMU's user mode."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.arm.build import build
from benchmarks.arm.emulator import Case, NoEmulator, write_case
from benchmarks.cmake_build import ROOT

SOURCE = ROOT / "native" / "emulated" / "count_instructions.c"
PLUGIN = ROOT / "build" / "arm" / "count_instructions.so"
NAME = "qemu-aarch64"
"""Debian's static build takes no plugins."""


def plugin() -> Path:
    """The compiled plugin.

    Raises:
        subprocess.CalledProcessError: the C compiler refuses it.
    """
    if not PLUGIN.exists() or PLUGIN.stat().st_mtime < SOURCE.stat().st_mtime:
        PLUGIN.parent.mkdir(parents=True, exist_ok=True)
        flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden")
        subprocess.run(["cc", *flags, SOURCE, "-o", PLUGIN], check=True)
    return PLUGIN


def instructions(case: Case, cpu: str) -> int:
    """Instructions of one run of a case: those of two runs less those of one, so that loading does not count.

    Raises:
        NoEmulator: there is no emulator that takes plugins.
        RuntimeError: the program failed.
    """
    totals = [_executed(replace(case, runs=runs), cpu) for runs in (1, 2)]
    return totals[1] - totals[0]


def _executed(case: Case, cpu: str) -> int:
    path = shutil.which(NAME)
    if path is None:
        raise NoEmulator(f"{NAME} is not on PATH; on Debian: apt-get install qemu-user")
    command = [path, "-cpu", cpu, "-plugin", str(plugin()), "-d", "plugin", str(build())]
    with tempfile.TemporaryDirectory() as folder:
        line = write_case(case, Path(folder) / "case")
        process = subprocess.run(command, input=line, capture_output=True, text=True)
    counted = re.search(r"instructions (\d+)", process.stderr + process.stdout)
    if process.returncode or counted is None or not process.stdout.startswith("ok"):
        raise RuntimeError(f"{' '.join(command)}: {process.stdout[-500:]}{process.stderr[-500:]}")
    return int(counted[1])
