"""Rows that are not chosen among unless they are forced: another does the same, or nothing tells what they cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from oaq.kernels.table import KernelRow
from oaq.numerics.formats import U8


def without_twins(table: Iterable[KernelRow], forced: Collection[str] = ()) -> tuple[KernelRow, ...]:
    """The rows to choose among: all but those that differ from another row in the form of their operands only.

    Where a row sums in s32, a shift of its operands lets it prove nothing more: the row on raw u8 does what it does,
    and a timing that says otherwise is noise. A row of narrow lanes is never left out, since its runs depend on the
    shift.

    Args:
        table: every row.
        forced: names of rows that stay.
    """
    rows = tuple(table)
    raw = {_but_for_operands(row) for row in rows if row.operand is None}
    return tuple(row for row in rows if row.operand is None or row.name in forced or _but_for_operands(row) not in raw)


def without_narrower(usable: Iterable[KernelRow], forced: Collection[str] = ()) -> tuple[KernelRow, ...]:
    """The rows to choose among where a CPU has one instruction in two sets: those of the wider registers.

    AVX-512 VNNI and AVX-VNNI are such sets: neither includes the other, and both rows sum the same s32 registers. Costs
    that ship with oaq come from several CPUs and cannot rank two rows so alike.

    Args:
        usable: rows that this CPU, or the table asked for, can run.
        forced: names of rows that stay.
    """
    rows = tuple(usable)
    return tuple(row for row in rows if row.name in forced or not any(_does_more(other, row) for other in rows))


def without_untimed(
    table: Iterable[KernelRow], timed: Collection[str], forced: Collection[str] = ()
) -> tuple[KernelRow, ...]:
    """The rows to choose among: all but those that only times of their own can rank, and that have none.

    A tile of AMX multiplies eight times as much as a zmm register, and does so for one position as for sixteen: what
    any other row costs says nothing of it.

    Args:
        table: every row.
        timed: names of rows that the costs know.
        forced: names of rows that stay.
    """
    return tuple(row for row in table if not row.only_timed or row.name in timed or row.name in forced)


def _does_more(wide: KernelRow, row: KernelRow) -> bool:
    """Whether ``wide`` sums in equal registers for more outputs, on an instruction set that extends not the other's."""
    if row.accumulator is None or wide.accumulator is None or not row.accumulator.is_exact:
        return False
    apart = row.isa not in wide.includes and wide.isa not in row.includes
    if not apart or wide.tile_n <= row.tile_n or row.family != wide.family:
        return False  # nearly every pair, before anything is copied: every plan asks this of every two rows
    alike = (row.operand, row.w_range) == (wide.operand, wide.w_range)
    return alike and replace(row.accumulator, name="") == replace(wide.accumulator, name="")


def _but_for_operands(row: KernelRow) -> object:
    """What rows share that differ in the form of their operands only; the row itself if its lanes are narrow."""
    register = row.accumulator
    if register is None or not register.is_exact:
        return row
    return replace(row, name="", accumulator=replace(register, name="exact"), x_range=U8, shift=0)
