"""The benchmark of inner loops: its operands, its hand-ordered loops, its table."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import micro
from benchmarks.micro import Point

GENERATOR = Path(__file__).parents[2] / "native" / "micro" / "limits.py"


@pytest.mark.parametrize(("rows", "tile_n"), [(6, 16), (2, 16), (12, 32)])
def test_operands_fit_the_first_cache_and_sixteen_bits_at_any_run(rows: int, tile_n: int) -> None:
    x, packed, sums = micro.operands(rows, tile_n)
    steps = micro.steps_for(rows, tile_n)
    assert micro.OPERAND_BYTES // 2 < 4 * steps * (rows + tile_n) <= micro.OPERAND_BYTES
    assert not x.ctypes.data % 64 and not packed.ctypes.data % 64
    assert int(x.max()) * int(np.abs(packed).max()) * 2 * steps < 1 << 15
    assert sums.shape == (rows, tile_n)
    first = sum(int(x[0, k]) * int(packed[k // 4 * 4 * tile_n + k % 4]) for k in range(4 * steps))
    assert sums[0, 0] == first


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="loops for x86")
def test_every_hand_ordered_loop_assembles(tmp_path: Path) -> None:
    source, table = tmp_path / "limits.S", tmp_path / "limits.inc"
    subprocess.run([sys.executable, str(GENERATOR), str(source), str(table)], check=True)
    subprocess.run(["c++", "-c", str(source), "-o", str(tmp_path / "limits.o")], check=True)
    entries = table.read_text().splitlines()
    assert len({entry.partition(",")[2] for entry in entries}) == len(entries) > 20  # no order twice


def test_the_table_holds_kernels_against_their_fastest_loop() -> None:
    row, wide = "gemm_u8s8_avx2_acc16", "gemm_u8s8_avx2_acc32"
    points = [
        Point(row, "", 0, 180.0, 179.0, 181.0),
        Point(row, "", 8, 160.0, 159.0, 161.0),
        Point(row, "even", 0, 190.0, 189.0, 191.0),
        Point(row, "fast by chance", 0, 185.0, 180.0, 200.0),
        Point(wide, "", 0, 100.0, 99.0, 101.0),
        Point(wide, "only", 0, 124.0, 123.0, 125.0),
    ]
    first, second = (dict(line) for line in micro.summary(points))
    assert (first["limit's order"], first["of the limit"], first["spill every 8, of the limit"]) == (
        "fast by chance",
        "0.900",
        "0.800",
    )
    assert second["of the limit"] == "0.800" and "spill every 8" not in second
    assert micro.ratios(points) == [("avx2: acc16 / acc32", "1.800"), ("avx2: acc16 / acc32, limits", "1.600")]
