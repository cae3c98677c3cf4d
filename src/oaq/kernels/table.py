"""The table of kernel rows: what each computes, on which operands, in which registers.

The native module's table is the only source; this file gives its rows a type. Selection compares the operand ranges
and the register of a row with the proof, and nothing else decides whether a row may run.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from oaq.errors import NoKernel
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.formats import S8, U8
from oaq.numerics.ranges import IntRange

ISA_VARIABLE: Final = "OAQ_ISA"
NATIVE: Final = "oaq.kernels._native"
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
        x_range: operands it accepts, as it multiplies them.
        w_range: weights it accepts.
        available: this CPU has the instructions.
        includes: the other instruction sets that come with ``isa``, whatever includes them in turn.
        shift: what it subtracts from a u8 in memory: it multiplies u8 - shift. 0 for raw u8, 128 for s8.
        copy_bytes: bytes that one copy moves where it gathers operands.
        squares: sides of the square windows, not dilated, that a depthwise row has code of its own for.
        tile_m: positions computed together.
        parts: a tile whose last outputs are missing may be computed in so many equal parts.
        only_timed: no row of another instruction set costs alike, so it is chosen only by times of its own.
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
    includes: frozenset[str] = frozenset()
    shift: int = 0
    copy_bytes: int = 32
    squares: tuple[int, ...] = ()
    only_timed: bool = False

    @property
    def never_narrow(self) -> bool:
        """True iff its sums are never held in fewer bits than all of K takes: nothing ends a run but the tile."""
        return self.accumulator is not None and (self.accumulator.is_exact or self.accumulator.max_run == 1)

    @property
    def operand(self) -> tuple[int, int, int] | None:
        """(shift, least, most) of what it multiplies; None for raw u8."""
        raw = self.shift == 0 and self.x_range == U8
        return None if raw else (self.shift, self.x_range.lo, self.x_range.hi)

    @property
    def looks_up(self) -> bool:
        """It looks sums of whole steps up, in bytes, instead of multiplying (``native/lookup``)."""
        return self.accumulator is not None and self.accumulator.group_overflow == "wraps"

    def weights(self, modulo: int | None) -> IntRange:
        """Weights it accepts where only sums modulo 2**``modulo`` count: any, where it looks up as many bits of them.

        Elsewhere a product has to fit an entry: a step whose sum does not is split into such as do.
        """
        register = self.accumulator if self.looks_up else None
        return S8 if register is not None and modulo is not None and modulo <= register.bits else self.w_range


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
        frozenset(entry["includes"]),
        int(entry["shift"]),
        int(entry["copy_bytes"]),
        tuple(entry["squares"]),
        bool(entry.get("only_timed", False)),
    )


def native_rows() -> tuple[KernelRow, ...]:
    """Every row compiled in, whether or not this CPU can run it.

    Raises:
        NoKernel: the native module is not built.
    """
    return tuple(row_from_native(entry) for entry in native_module().kernel_table())


def dynamic_rows() -> tuple[KernelRow, ...]:
    """Matrix rows that dynamic layers may take besides ``native_rows``, and no plan of a program.

    Raises:
        NoKernel: the native module is not built.
    """
    return tuple(row_from_native(entry) for entry in native_module().dynamic_table())


def native_matrix_row(row: KernelRow) -> Any | None:  # noqa: ANN401  (a module without a type)
    """The native module, if it is loaded and has this matrix row; None for a row of another table."""
    module = sys.modules.get(NATIVE)
    if module is None or row.accumulator is None or not hasattr(module, "reads_lines"):
        return None
    return module if _matrix_rows(module).get(row.name) == (row.tile_m, row.accumulator.step) else None


@lru_cache(maxsize=4)
def _matrix_rows(module: ModuleType) -> Mapping[str, tuple[int, int]]:
    """Positions of a tile and operands of a step, by name."""
    entries = (entry for entry in module.kernel_table() if entry["family"] == "gemm")
    return {entry["name"]: (entry["tile_m"], entry["step"]) for entry in entries}


def cpu_isas() -> tuple[str, ...]:
    """The instruction sets this CPU runs, each after those that it includes.

    Raises:
        NoKernel: the native module is not built.
    """
    return tuple(native_module().cpu_isas())


def rows_for(isa: str | None, table: Sequence[KernelRow], *, foreign: bool = False) -> tuple[KernelRow, ...]:
    """The rows a plan for ``isa`` may use: that instruction set and those it includes.

    Args:
        isa: None asks the environment variable ``OAQ_ISA``, then takes the best this CPU has.
        table: every row there is.
        foreign: rows this CPU cannot run are allowed: the plan is for another machine.

    Raises:
        NoKernel: no such instruction set in the table, or this CPU lacks it.
    """
    source = "isa" if isa is not None else ISA_VARIABLE
    name = isa if isa is not None else os.environ.get(ISA_VARIABLE) or None
    usable = tuple(row for row in table if foreign or row.available)
    if name is None:
        return usable
    names = isas_of(table)
    if name not in names:
        raise NoKernel(f"{source} asks for {name!r}: there are kernels for {', '.join(names)}; none for that")
    if name not in isas_of(usable):
        raise NoKernel(
            f"{source} asks for {name}, which this CPU lacks: it runs {', '.join(isas_of(usable))}. Choose one of "
            "those; to plan for another machine, pass its table"
        )
    allowed = {name}.union(*(row.includes for row in usable if row.isa == name))
    return tuple(row for row in usable if row.isa in allowed)


def check_isa_variable() -> None:
    """Refuse a value of ``OAQ_ISA`` that no plan here can follow, before anything is done by it.

    Raises:
        NoKernel: it names no instruction set, or one that this CPU lacks.
    """
    if not os.environ.get(ISA_VARIABLE):
        return
    try:
        table = native_rows()
    except NoKernel:
        return  # without native code there is nothing to plan
    rows_for(None, table)


def isas_of(table: Iterable[KernelRow]) -> tuple[str, ...]:
    """The instruction sets of the rows, by name, each after those that it includes."""
    included = {row.isa: row.includes for row in table}
    return tuple(sorted(included, key=lambda isa: (len(included[isa]), isa)))


def ascending(rows: Iterable[KernelRow]) -> list[KernelRow]:
    """The rows, each after all whose instruction set its own includes; otherwise in their order."""
    return sorted(rows, key=lambda row: len(row.includes))


def best_row(rows: Sequence[KernelRow]) -> KernelRow:
    """The first of the rows whose instruction set no other row's includes.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("there are no rows to choose from")
    included = frozenset[str]().union(*(row.includes for row in rows))
    return next(row for row in rows if row.isa not in included)


def best_isa(rows: Sequence[KernelRow]) -> str:
    """The instruction sets that no other row's includes, joined by "+"; "scalar" for no rows."""
    included = frozenset[str]().union(*(row.includes for row in rows))
    return "+".join(sorted({row.isa for row in rows} - included)) or "scalar"


def native_module() -> Any:  # noqa: ANN401  (the module has no type before it is built)
    """``oaq.kernels._native``.

    Raises:
        NoKernel: it is not built, or does not load.
    """
    loaded = sys.modules.get(NATIVE)
    if loaded is not None:  # importlib takes microseconds to find it again, for every edge of every run
        return loaded
    try:
        return importlib.import_module(NATIVE)
    except ModuleNotFoundError as error:
        raise NoKernel(
            "this needs the native module, and this oaq was installed without it. In a clone of oaq: pip install . "
            "(compiles some minutes of C++), or make build"
        ) from error
    except ImportError as error:
        raise NoKernel(
            f"the native module does not load: {error}. Build it for this Python, in a clone of oaq: pip install "
            "--force-reinstall --no-deps ., or make build"
        ) from error
