"""The row of AMX on emulated tile registers. No CPU with AMX has run it: these integers are the emulation's."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from oaq.kernels.alike import without_untimed
from oaq.kernels.cost_files import shipped_costs
from oaq.kernels.table import native_rows
from tests.native.machine import ROWS

NATIVE = Path(__file__).parents[2] / "native"
SOURCES = ("gemm/x86/amx.cc", "base/x86/tiles_amx.cc", "base/order.cc", "base/aligned.cc", "base/pages.cc")
LAW = "requantize/loops.cc"
FLAGS = ["-std=c++20", "-O2", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
WIDE = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-Wno-maybe-uninitialized", "-Wno-uninitialized"]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiles.cc, the row and its tiles as plain C++, by the compiler that builds oaq."""
    if "gemm_u8s8_vnni" not in ROWS:
        pytest.skip("the emulated row of AMX leaves its tiles by AVX-512, which this CPU lacks: NOT RUN")
    path = tmp_path_factory.mktemp("tiles") / "tiles"
    sources = [Path(__file__).with_name("tiles.cc"), *(NATIVE / name for name in (*SOURCES, LAW))]
    command = [os.environ.get("CXX", "c++"), *FLAGS, *WIDE, *SANITIZED, "-DOAQ_EMULATED_TILES", f"-I{NATIVE}"]
    subprocess.run([*command, "-o", path, *sources], check=True)
    return path


def said(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    return subprocess.run([program, *arguments], capture_output=True, text=True, env=variables)


def test_emulated_tiles_sum_what_loops_sum_and_leave_by_the_law(program: Path) -> None:
    """Every number of positions, both parts, three ways and sums, runs in pieces, sums that wrap; no byte too many."""
    done = said(program)
    assert (done.returncode, done.stdout) == (0, "456 calls\n"), done.stdout + done.stderr


def test_emulated_tiles_that_nobody_configured_end_the_process(program: Path) -> None:
    assert said(program, "unconfigured").returncode == -signal.SIGABRT


def test_the_row_of_amx_is_chosen_only_by_times_of_its_own() -> None:
    rows = {row.name: row for row in native_rows()}
    amx = rows["gemm_u8s8_amx"]
    assert {row.isa for row in native_rows() if row.only_timed} == {"amx"}
    assert amx.name not in shipped_costs().rows
    assert without_untimed([amx, rows["gemm_u8s8_vnni"]], shipped_costs().rows) == (rows["gemm_u8s8_vnni"],)
    assert without_untimed([amx], (), [amx.name]) == (amx,)
    assert without_untimed([amx], [amx.name]) == (amx,)
