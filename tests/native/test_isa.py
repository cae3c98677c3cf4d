"""Instruction sets: a partial order, and what a thread does before and after it uses one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from oaq.errors import NoKernel
from oaq.kernels.table import KernelRow, ascending, best_isa, best_row, isas_of, native_rows, rows_for
from oaq.numerics.formats import S8, U8

NATIVE = Path(__file__).parents[2] / "native"
INCLUDES = {
    "scalar": set(),
    "avx2": {"scalar"},
    "avx512bw": {"scalar", "avx2"},
    "vnni": {"scalar", "avx2", "avx512bw"},
    "avxvnni": {"scalar", "avx2"},
    "vbmi": {"scalar", "avx2", "avx512bw"},
    "amx": {"scalar", "avx2", "avx512bw", "vnni"},
    "neon": {"scalar"},
    "dotprod": {"scalar", "neon"},
    "i8mm": {"scalar", "neon", "dotprod"},
    "simd128": {"scalar"},
    "relaxed": {"scalar", "simd128"},
}
TABLE = tuple(
    KernelRow(f"row {index}", "add", isa, 1, None, U8, S8, True, includes=frozenset(includes))
    for index, (isa, includes) in enumerate(INCLUDES.items())
)


def test_threads_begin_what_they_use_in_order_and_end_it_in_the_opposite_one(tmp_path: Path) -> None:
    program = tmp_path / "isas"
    source = Path(__file__).with_name("isas.cc")
    compiler = os.environ.get("CXX", "c++")
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{NATIVE}"]
    subprocess.run([compiler, *flags, "-o", program, source, NATIVE / "base" / "isa.cc"], check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[:5] == ["begin first", "begin third", "run", "end third", "end first"]
    assert said[5] == "vnni includes avx2: 1, avx2 includes vnni: 0"


@pytest.mark.parametrize("isa", INCLUDES)
def test_a_plan_for_an_instruction_set_uses_what_it_includes_and_nothing_else(isa: str) -> None:
    assert {row.isa for row in rows_for(isa, TABLE)} == INCLUDES[isa] | {isa}


def test_sets_that_do_not_include_one_another_are_not_compared() -> None:
    rows = {row.isa: row for row in TABLE}
    assert best_isa([rows["avx2"], rows["neon"], rows["scalar"]]) == "avx2+neon"
    assert best_isa([rows["vnni"], rows["avxvnni"], rows["avx2"]]) == "avxvnni+vnni"
    assert best_row([rows["scalar"], rows["neon"], rows["dotprod"]]).isa == "dotprod"
    assert best_isa([]) == "scalar"
    order = isas_of(ascending(TABLE))
    assert all(order.index(included) < order.index(isa) for isa in order for included in INCLUDES[isa])


def test_an_instruction_set_without_rows_is_refused_by_name() -> None:
    with pytest.raises(NoKernel, match="asks for 'sve'"):
        rows_for("sve", TABLE)


def test_the_native_table_says_what_each_instruction_set_includes() -> None:
    for row in native_rows():
        assert row.includes == INCLUDES[row.isa]


def test_nothing_asks_the_compilers_builtin_what_the_cpu_runs() -> None:
    """With zig's run-time library, which wheels are built with, it answers no to everything: ``base/isa.cc`` asks."""
    sources = [path for path in NATIVE.rglob("*") if path.suffix in {".cc", ".h", ".c"}]
    assert len(sources) > 50
    assert not [str(path) for path in sources if "__builtin_cpu" in path.read_text(encoding="utf-8")]
