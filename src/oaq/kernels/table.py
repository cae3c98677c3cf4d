"""The table of kernel rows: what each computes, on which operands, in which registers.

The native module's table is the only source; this file gives its rows a type. Selection compares the operand ranges
and the register of a row with the proof, and nothing else decides whether a row may run.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oaq.errors import NoKernel
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.ranges import IntRange

ISAS: Final = ("scalar", "avx2", "avx512bw", "vnni")
"""Instruction sets, each of which includes those before it."""
ISA_VARIABLE: Final = "OAQ_ISA"
SUMMING: Final = ("gemm", "depthwise")
"""Families whose rows sum products in a declared register."""


@dataclass(frozen=True)
class KernelRow:
    """One kernel and the contract under which it is exact.

    Attributes:
        name: ``<op>_<atype><btype>_<isa>[_<trick>]``.
        family: "gemm" (Conv2d, Linear), "depthwise", or an operator in snake case ("add", "max_pool", ...).
        isa: the instruction set it needs.
        tile_n: outputs that share a schedule.
        accumulator: the register its inner loop sums in; None where nothing narrower than s32 is summed and no
            weights are read.
        x_range: operands it accepts, as loaded.
        w_range: weights it accepts.
        available: this CPU has the instructions.
        tile_m: positions computed together.
        parts: a tile whose last outputs are missing may be computed in so many equal parts.
    """

    name: str
    family: str
    isa: str
    tile_n: int
    accumulator: Accumulator | None
    x_range: IntRange
    w_range: IntRange
    available: bool
    tile_m: int = 1
    parts: int = 1

    @property
    def rank(self) -> int:
        """Position of its instruction set; unknown ones rank after all known."""
        return ISAS.index(self.isa) if self.isa in ISAS else len(ISAS)


def row_from_native(entry: Mapping[str, Any]) -> KernelRow:
    """One entry of ``_native.kernel_table()`` as a row."""
    accumulator = None
    if entry["family"] in SUMMING:
        max_run = entry.get("max_run")
        accumulator = Accumulator(
            entry["name"],
            int(entry["bits"]),
            entry["overflow"],
            step=int(entry["step"]),
            group=int(entry["group"]),
            group_overflow=entry["group_overflow"],
            lanes=int(entry["lanes"]),
            max_run=int(max_run) if max_run else None,
        )
    return KernelRow(
        entry["name"],
        entry["family"],
        entry["isa"],
        int(entry["tile_n"]),
        accumulator,
        IntRange(*(int(end) for end in entry["x_range"])),
        IntRange(*(int(end) for end in entry["w_range"])),
        bool(entry["available"]),
        int(entry["tile_m"]),
        int(entry["parts"]),
    )


def native_rows() -> tuple[KernelRow, ...]:
    """Every row compiled in, whether or not this CPU can run it.

    Raises:
        NoKernel: the native module is not built.
    """
    return tuple(row_from_native(entry) for entry in _native().kernel_table())


def cpu_isas() -> tuple[str, ...]:
    """The instruction sets this CPU runs, ascending.

    Raises:
        NoKernel: the native module is not built.
    """
    return tuple(_native().cpu_isas())


def rows_for(isa: str | None, table: Sequence[KernelRow], *, foreign: bool = False) -> tuple[KernelRow, ...]:
    """The rows a plan for ``isa`` may use: that instruction set and those it includes.

    Args:
        isa: None asks the environment variable ``OAQ_ISA``, then takes the best this CPU has.
        table: every row there is.
        foreign: rows this CPU cannot run are allowed: the plan is for another machine.

    Raises:
        NoKernel: no such instruction set in the table, or this CPU lacks it.
    """
    asked = isa if isa is not None else os.environ.get(ISA_VARIABLE) or None
    usable = tuple(row for row in table if foreign or row.available)
    if asked is None:
        return usable
    known = sorted({row.isa for row in table}, key=_rank)
    if asked not in known:
        raise NoKernel(f"there are kernels for {', '.join(known)}; none for {asked!r}")
    if asked not in {row.isa for row in usable}:
        have = sorted({row.isa for row in usable}, key=_rank)
        source = "isa" if isa is not None else ISA_VARIABLE
        raise NoKernel(
            f"{source} asks for {asked}, which this CPU lacks: it runs {', '.join(have)}. Choose one of those; to plan "
            "for another machine, pass its table"
        )
    return tuple(row for row in usable if row.isa == asked or (row.isa in ISAS and _rank(row.isa) <= _rank(asked)))


def _rank(isa: str) -> int:
    return ISAS.index(isa) if isa in ISAS else len(ISAS)


def _native() -> Any:  # noqa: ANN401  (the module has no type before it is built)
    try:
        return importlib.import_module("oaq.kernels._native")
    except ImportError as error:
        raise NoKernel(
            f"the native module is not built or does not load: {error}. Run `make build`, or install the wheel"
        ) from error
