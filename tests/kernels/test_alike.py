"""Which rows of a table are chosen among."""

from __future__ import annotations

from oaq.kernels.alike import without_narrower
from oaq.kernels.table import native_rows


def test_of_two_sets_with_one_instruction_the_wider_registers_are_chosen() -> None:
    rows = {row.name: row for row in native_rows()}
    both = [rows[name] for name in ("gemm_u8s8_vnni", "gemm_u8s8_avxvnni", "gemm_u8s8_avx2_exact", "gemm_u8s8_scalar")]
    names = [row.name for row in without_narrower(both)]
    assert names == ["gemm_u8s8_vnni", "gemm_u8s8_avx2_exact", "gemm_u8s8_scalar"]
    assert "gemm_u8s8_avxvnni" in {row.name for row in without_narrower(both, ["gemm_u8s8_avxvnni"])}
    assert "gemm_u8s8_avxvnni" in {row.name for row in without_narrower(both[1:])}
