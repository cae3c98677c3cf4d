"""Operation counts of rows that look sums up instead of multiplying: the loops of ``native/lookup``.

Kinds of ``kernels.work`` count what these loops do in their place. Each is counted for every position, though a vector
of positions shares it: a row that was never timed then seems dearer than the row that stands for it, and is left alone.

=======  ==============================================================================================================
steps    tables looked up in, for four outputs each, per position of a vector
turns    the same per group of positions: what a step costs besides, loading indices and finding tables
spills   bytes added to 16 bits, four outputs each, before the last run, per position of a vector
starts   runs begun, once per group of positions
outputs  results, per position of a vector
copies   vectors of pixels, for each channel and each sheet of indices made of them
moves    vectors of indices gathered into streams
=======  ==============================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod
from typing import TYPE_CHECKING, Final

from oaq.kernels.table import KernelRow

if TYPE_CHECKING:
    from oaq.kernels.work import Site
    from oaq.overflow.spill import RunCount

INDEX_BITS: Final = 4
"""Bits of an index of vpshufb; vpermb, on vectors twice as wide, takes more."""

PLACE: Final = 2
"""Bytes that say where the table of a step of an output is: all that a tile reads of weights."""


@dataclass(frozen=True)
class Streams:
    """What operands become, of one group.

    Attributes:
        sheets: choices of channels that make up an index.
        streams: of indices, each for one column of the window.
        lines: of a stream.
        columns: likewise.
    """

    sheets: int
    streams: int
    lines: int
    columns: int


def streams_of(site: Site, operands: int) -> Streams:
    """About what ``native/lookup/digits.cc`` makes of a window, ``operands`` at a time; exact for whole steps."""
    rows, columns = site.kernel
    channels = site.x[2] // site.groups
    starts = min(rows * columns, operands // gcd(channels, operands))
    sheets = -(-starts * channels // operands) + (2 * (operands - 1) if starts > 1 else 0)
    if site.is_direct:
        return Streams(sheets, sheets, 1, site.positions)
    if site.is_volume or site.dilation[0] != 1:
        return Streams(sheets, -(-rows * columns * channels // operands), site.y[0], site.y[1])
    line = columns * channels
    lines = site.y[0] + (rows - 1) // site.stride[0]
    starts = min(rows, operands // gcd(line, operands))
    return Streams(sheets, -(-starts * line // operands), min(rows, site.stride[0]) * lines, site.y[1])


def lookup_work(row: KernelRow, site: Site, runs: RunCount) -> dict[str, float]:
    """Work of a Conv2d or Linear on one sample, but for what memory costs.

    Args:
        row: that looks sums up.
        site: where the layer stands.
        runs: of its schedule.
    """
    operands = row.accumulator.step if row.accumulator is not None else 1
    width = 64 if operands * row.x_range.hi.bit_length() > INDEX_BITS else 32
    positions = -(-site.positions // width) * width
    groups = -(-site.positions // row.tile_m)
    of_group = streams_of(site, operands)
    pixels = prod(site.x[:2]) / width
    # Lines of a window of stride 1 that gives as many columns as it reads are gathered as one.
    joined = site.stride == (1, 1) and site.dilation[0] == 1 and site.x[1] == site.y[1] and not site.is_volume
    lines, columns = (1, of_group.lines * of_group.columns) if joined else (of_group.lines, of_group.columns)
    return {
        "steps": float(positions * runs.issues),
        "turns": float(groups * runs.issues),
        "spills": float(positions * (runs.segments - runs.tiles)),
        "starts": float(groups * runs.segments),
        "outputs": float(positions * site.y[2]),
        "copies": pixels * (site.groups * of_group.sheets + site.x[2]),
        "moves": float(site.groups * of_group.streams * lines * -(-columns // width)),
    }
