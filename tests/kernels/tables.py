"""A kernel table as the native module would give it, for plans made without that module."""

from __future__ import annotations

from typing import Any

from oaq.kernels.table import KernelRow, row_from_native
from oaq.operators import OPERATORS

FAMILIES = {rules.family for rules in OPERATORS.values() if isinstance(rules.family, str)} - {"gemm"}
"""Kernel families without products."""
LINE = ("scalar", "avx2", "avx512bw", "vnni")
"""Each of these instruction sets includes those before it."""
EXACT = {"bits": 32, "overflow": "exact", "group": 1, "group_overflow": "exact", "lanes": 1}


def entry(name: str, **changes: object) -> dict[str, Any]:
    """One entry, by default of a 16-bit row; family and instruction set are read from the name."""
    family, _, isa = name.split("_")[:3]
    return {
        "name": name,
        "family": family,
        "isa": isa,
        "tile_n": 16 if (family, isa) == ("gemm", "avx2") else 32,
        "tile_m": 6 if family == "gemm" else 1,
        "parts": 2 if family == "gemm" else 1,
        "step": 2 if family == "depthwise" else 4,
        "lanes": 1 if family == "depthwise" else 2,
        "group": 2,
        "bits": 16,
        "overflow": "wraps",
        "group_overflow": "saturates",
        "max_run": None,
        "x_range": (0, 255),
        "w_range": (-128, 127),
        "available": isa != "avx512bw",
        "includes": LINE[: LINE.index(isa)],
        "shift": 0,
        "copy_bytes": 16 if isa == "scalar" else 32,
        "squares": (3, 5) if family == "depthwise" and isa != "scalar" else (),
        **changes,
    }


def elementwise(family: str, isa: str) -> dict[str, Any]:
    """A row that sums no products."""
    return entry(f"x_u8_{isa}", **EXACT) | {
        "name": f"{family}_u8_{isa}",
        "family": family,
        "tile_n": 1,
        "tile_m": 1,
        "parts": 1,
    }


ENTRIES = (
    entry("gemm_u8s8_scalar", tile_n=8, tile_m=4, parts=1, **EXACT),
    entry("gemm_u8s8_avx2_exact", tile_m=2, **EXACT),
    entry("gemm_u8s8_avx2_acc32", max_run=1),
    entry("gemm_u8s8_avx2_acc16"),
    entry("gemm_u8s8_avx512bw_acc16"),
    entry("gemm_u8s8_vnni", **EXACT),
    entry("depthwise_u8s8_scalar", tile_n=8, **EXACT),
    entry("depthwise_u8s8_avx2_exact", **EXACT),
    entry("depthwise_u8s8_avx2_acc16"),
    entry("depthwise_u8s8_vnni", **(EXACT | {"step": 4})),
    *(elementwise(family, "scalar") for family in sorted(FAMILIES)),
    elementwise("add", "avx2"),
)
TABLE: tuple[KernelRow, ...] = tuple(row_from_native(one) for one in ENTRIES)
