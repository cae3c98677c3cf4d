"""Quantization targets: the rows that networks are quantized for, known without the native module.

The same network quantized for the same target on two machines is the same program, so nothing here may depend on the
machine. ``tests/kernels/test_targets.py`` compares every row that is compiled in with the native table, ``tests/arm``
and ``tests/web`` those of Arm and WebAssembly with the table of a cross build; the rows of a target that is not
compiled in (neon on x86) are a foreign table, and cost what the rows most like them cost (``kernels.facts``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from oaq.errors import NoKernel
from oaq.kernels.table import SUMMING, KernelRow
from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    AVX2_ACC32X4,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_DEPTHWISE_ACC16,
    NEON_MLAL_PAIR,
    WASM_ACC16,
    Accumulator,
)
from oaq.numerics.formats import S8, U7, U8
from oaq.numerics.ranges import IntRange
from oaq.operators import OPERATORS, Products

DEFAULT_TARGET: Final = "avx2"
WITHOUT_SUMS: Final = tuple(
    rules.family
    for rules in OPERATORS.values()
    if isinstance(rules.family, str) and not issubclass(rules.value, Products)
)
"""Families whose rows sum no products; scalar code computes each of them on any CPU."""


@dataclass(frozen=True, eq=False)
class KernelTarget:
    """An instruction set that networks are quantized for.

    Attributes:
        name: how ``oaq.quantize(target=...)`` calls it.
        summing: rows that layers are quantized for; the first of each family is the measure: budget 1.0 is the
            network on these rows without a spill inside a sum, and outputs that share its tile share a fill.
        sumless: rows of the families that sum no products, and rows that a layer may take besides.
    """

    name: str
    summing: tuple[KernelRow, ...]
    sumless: tuple[KernelRow, ...]

    @property
    def table(self) -> tuple[KernelRow, ...]:
        """Every row, for ``oaq.plan(program, table=...)``: a plan for another machine."""
        return self.summing + self.sumless

    def rows_of(self, family: str) -> tuple[KernelRow, ...]:
        """The rows that a layer of ``family`` ("gemm" or "depthwise") may take."""
        return tuple(row for row in self.summing if row.family == family)

    def measure(self, family: str) -> KernelRow:
        """The row of ``family`` whose seconds without a spill are the measure of a layer."""
        return self.rows_of(family)[0]

    @property
    def isas(self) -> frozenset[str]:
        """The instruction sets of its rows."""
        first = self.summing[0]
        return first.includes | {first.isa}

    @property
    def most_steps(self) -> int:
        """Widest range of operands, from 0 on, that the rows of the measure take: 255, or 127 for rows of 7 bits."""
        measures = (self.measure(family) for family in SUMMING)
        return min(row.x_range.hi + row.shift for row in measures)

    @property
    def is_narrow(self) -> bool:
        """Narrower sums are faster here; where they are not, a budget buys nothing and every layer keeps 8 bits."""
        return any(row.accumulator is not None and not row.accumulator.is_exact for row in self.summing)


def _x86(
    family: str, isa: str, trick: str, register: Accumulator, tile: tuple[int, int], *, parts: int = 2
) -> KernelRow:
    """A row on raw u8 operands with a tile of (positions, outputs), which matrix rows cut into ``parts``."""
    name = f"{family}_u8s8_{isa}{trick}"
    squares = (3, 5) if family == "depthwise" else ()
    parts = parts if family == "gemm" else 1
    facts = {"tile_m": tile[0], "parts": parts, "includes": X86[isa], "squares": squares}
    return KernelRow(name, family, isa, tile[1], replace(register, name=name), U8, S8, False, **facts)


def _arm(
    family: str, isa: str, trick: str, register: Accumulator, tile: tuple[int, int], *, parts: int = 1
) -> KernelRow:
    """A row on s8 operands, u8 - 128 in memory, with a tile of (positions, outputs)."""
    name = f"{family}_s8s8_{isa}{trick}"
    facts = {"tile_m": tile[0], "parts": parts, "includes": ARM[isa], "shift": 128, "copy_bytes": 16}
    return KernelRow(name, family, isa, tile[1], replace(register, name=name), S8, S8, False, **facts)


def _wasm(family: str, name: str, register: Accumulator, tile: tuple[int, int], operands: IntRange = U8) -> KernelRow:
    """A row of WebAssembly, called ``name`` behind its family, with a tile of (positions, outputs)."""
    name = f"{family}_{name}"
    isa = name.split("_")[2]
    facts = {"tile_m": tile[0], "parts": 2 if family == "gemm" else 1, "includes": WASM[isa], "copy_bytes": 16}
    return KernelRow(name, family, isa, tile[1], replace(register, name=name), operands, S8, False, **facts)


def _scalar(family: str, register: Accumulator, tile: tuple[int, int]) -> KernelRow:
    name = f"{family}_u8s8_scalar"
    sums = replace(register, name=name)
    return KernelRow(name, family, "scalar", tile[1], sums, U8, S8, False, tile_m=tile[0], copy_bytes=16)


def _without_sums(family: str, isa: str, includes: frozenset[str] = frozenset()) -> KernelRow:
    copied = 32 if isa in X86 else 16
    return KernelRow(f"{family}_u8_{isa}", family, isa, 1, None, U8, S8, False, includes=includes, copy_bytes=copied)


X86: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "avx2": frozenset({"scalar"}),
        "avx512bw": frozenset({"scalar", "avx2"}),
        "vnni": frozenset({"scalar", "avx2", "avx512bw"}),
        "avxvnni": frozenset({"scalar", "avx2"}),
    }
)
"""What each instruction set of x86 includes."""
ARM: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "neon": frozenset({"scalar"}),
        "dotprod": frozenset({"scalar", "neon"}),
        "i8mm": frozenset({"scalar", "neon", "dotprod"}),
    }
)
"""What each instruction set of AArch64 includes."""
WASM: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"simd128": frozenset({"scalar"}), "relaxed": frozenset({"scalar", "simd128"})}
)
"""What each instruction set of WebAssembly includes."""
TAPS_EXACT: Final = replace(EXACT_S32, step=2)
AVX2_ROWS: Final = (
    _x86("gemm", "avx2", "_acc16", AVX2_ACC16, (6, 16)),
    _x86("gemm", "avx2", "_acc32x4", AVX2_ACC32X4, (8, 8), parts=1),
    _x86("gemm", "avx2", "_acc32", AVX2_ACC32, (5, 16)),
    _x86("gemm", "avx2", "_exact", EXACT_S32, (2, 16)),
    _x86("depthwise", "avx2", "_acc16", DEPTHWISE_ACC16, (1, 32)),
    _x86("depthwise", "avx2", "_exact", TAPS_EXACT, (1, 32)),
)
AVX512_ROWS: Final = (
    _x86("gemm", "avx512bw", "_acc16", AVX2_ACC16, (12, 32)),
    _x86("gemm", "avx512bw", "_acc32", AVX2_ACC32, (12, 32)),
    _x86("depthwise", "avx512bw", "_acc16", DEPTHWISE_ACC16, (1, 64)),
)
VNNI_ROWS: Final = (
    _x86("gemm", "vnni", "", EXACT_S32, (12, 32)),
    _x86("depthwise", "vnni", "", EXACT_S32, (1, 64)),
)
AVXVNNI_ROWS: Final = (
    _x86("gemm", "avxvnni", "", EXACT_S32, (6, 16)),
    _x86("depthwise", "avxvnni", "", EXACT_S32, (1, 32)),
)
NEON_ROWS: Final = (
    _arm("gemm", "neon", "_acc16", NEON_ACC16, (4, 4)),
    _arm("gemm", "neon", "_acc32", NEON_MLAL_PAIR, (4, 4)),
    _arm("gemm", "neon", "_exact", replace(EXACT_S32, step=16), (4, 4)),
    _arm("depthwise", "neon", "_acc16", NEON_DEPTHWISE_ACC16, (1, 16)),
    _arm("depthwise", "neon", "_exact", replace(EXACT_S32, step=1), (1, 16)),
)
"""Sixteen sums of eight lanes, and what feeds them, fit NEON's 32 registers."""
NEON_DEPTHWISE: Final = tuple(row for row in NEON_ROWS if row.family == "depthwise")
DOTPROD_ROWS: Final = (_arm("gemm", "dotprod", "", EXACT_S32, (4, 16), parts=2), NEON_DEPTHWISE[1])
I8MM_GEMM: Final = KernelRow(
    "gemm_u8s8_i8mm",
    "gemm",
    "i8mm",
    8,
    replace(EXACT_S32, name="gemm_u8s8_i8mm", step=8),
    U8,
    S8,
    False,
    tile_m=8,
    includes=ARM["i8mm"],
    copy_bytes=16,
)
"""usmmla multiplies u8 as it lies in memory."""
I8MM_ROWS: Final = (I8MM_GEMM, NEON_DEPTHWISE[1])
SIMD128_ROWS: Final = (
    _wasm("gemm", "u8s8_simd128_acc16", WASM_ACC16, (2, 8)),
    _wasm("gemm", "u8s8_simd128_exact", EXACT_S32, (2, 8)),
    _wasm("depthwise", "u8s8_simd128_acc16", NEON_DEPTHWISE_ACC16, (1, 16)),
    _wasm("depthwise", "u8s8_simd128_exact", replace(EXACT_S32, step=1), (1, 16)),
)
"""A tile and what feeds it fit the 16 registers of x86."""
RELAXED_ROWS: Final = (
    _wasm("gemm", "u7s8_relaxed_acc16", AVX2_ACC16, (5, 8), U7),
    _wasm("gemm", "u7s8_relaxed_exact", EXACT_S32, (5, 8), U7),
    _wasm("depthwise", "u7s8_relaxed_acc16", DEPTHWISE_ACC16, (1, 16), U7),
)
"""i16x8.relaxed_dot_i8x16_i7x16 sums pairs as vpmaddubsw does; on operands of 7 bits every CPU computes the same."""
SCALAR_OTHERS: Final = tuple(_without_sums(family, "scalar") for family in WITHOUT_SUMS)
SCALAR_ROWS: Final = (
    _scalar("gemm", EXACT_S32, (4, 8)),
    _scalar("depthwise", TAPS_EXACT, (1, 8)),
    *SCALAR_OTHERS,
)
X86_FAMILIES: Final = (
    "add",
    "mul",
    "concat",
    "max_pool",
    "avg_pool",
    "global_avg_pool",
    "resize",
    "depth_to_space",
    "lookup",
    "gather",
    "transpose",
)
"""Families without sums that have rows on vectors of x86; what only moves whole pixels is the same code everywhere."""
WASM_FAMILIES: Final = (*(family for family in X86_FAMILIES if family != "lookup"), "coarsen")
"""Those of WebAssembly, which chooses among sixteen bytes only: tables of 256 are looked up byte by byte."""
ARM_FAMILIES: Final = (*X86_FAMILIES, "channel_lookup", "coarsen")
"""Those of AArch64."""
AVX2_OTHERS: Final = tuple(_without_sums(family, "avx2", X86["avx2"]) for family in X86_FAMILIES)
AVX512_OTHERS: Final = tuple(_without_sums(family, "avx512bw", X86["avx512bw"]) for family in X86_FAMILIES)
X86_OTHERS: Final = (*AVX2_OTHERS, *SCALAR_ROWS)
WIDE_OTHERS: Final = (*AVX512_OTHERS, *X86_OTHERS)
ARM_OTHERS: Final = (*(_without_sums(family, "neon", ARM["neon"]) for family in ARM_FAMILIES), *SCALAR_ROWS)
WASM_OTHERS: Final = (*(_without_sums(family, "simd128", WASM["simd128"]) for family in WASM_FAMILIES), *SCALAR_ROWS)
DOTPROD_OTHERS: Final = (NEON_DEPTHWISE[0], *ARM_OTHERS)
"""Lanes of 16 bits are the quickest where they need no spill; but no layer is made narrower for them."""

AVX2: Final = KernelTarget("avx2", AVX2_ROWS, X86_OTHERS)
TARGETS: Final[Mapping[str, KernelTarget]] = MappingProxyType(
    {
        target.name: target
        for target in (
            AVX2,
            KernelTarget("avx512bw", AVX512_ROWS + AVX2_ROWS, WIDE_OTHERS),
            KernelTarget("vnni", VNNI_ROWS, WIDE_OTHERS),
            KernelTarget("avxvnni", AVXVNNI_ROWS, X86_OTHERS),
            KernelTarget("neon", NEON_ROWS, ARM_OTHERS),
            KernelTarget("dotprod", DOTPROD_ROWS, DOTPROD_OTHERS),
            KernelTarget("i8mm", I8MM_ROWS, DOTPROD_OTHERS),
            KernelTarget("wasm", SIMD128_ROWS, WASM_OTHERS),
            KernelTarget("wasm-relaxed", RELAXED_ROWS + SIMD128_ROWS[1:], WASM_OTHERS),
        )
    }
)
"""Targets by name, the default first."""


def target_named(name: str) -> KernelTarget:
    """The target of that name.

    Raises:
        NoKernel: there is none; the message names those there are.
    """
    if name not in TARGETS:
        raise NoKernel(f"there is no quantization target {name!r}; there are {', '.join(TARGETS)}")
    return TARGETS[name]


def target_of(table: Iterable[KernelRow]) -> KernelTarget:
    """The first target whose measures are all in ``table``; AVX2's if there is none."""
    names = {row.name for row in table}
    measured = (target for target in TARGETS.values() if _measures(target.summing) <= names)
    return next(measured, AVX2)


def _measures(summing: Sequence[KernelRow]) -> set[str]:
    first = {row.family: row.name for row in reversed(summing)}
    return set(first.values())
