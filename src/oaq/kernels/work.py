"""Operation counts per node: the inputs of the cost model.

``kernels.cost`` multiplies these counts with the seconds each takes on a row. A count names one mechanism of the
native code, so that its seconds mean something:

=========  ============================================================================================================
steps      inner steps, per position and register of outputs (gemm) or tile of channels (depthwise)
loops      the same again in depthwise layers that have no code of their own on a row that has some: windows other
           than its squares, dilated ones, split steps
turns      steps per group of positions: what a step costs besides its products, loading weights above all; and
           pieces in which exact sums go on behind steps that are left out
spills     narrow sums added into s32 and cleared, before the last run
starts     runs begun, once per group of positions (gemm) or line of outputs (depthwise)
outputs    registers of results that leave: bias, requantization, store
words      the same in 16 bits (``numerics.words``)
one_by_one results requantized by scalar code: a multiplier of 1 or more, fixed point
tails      tiles of which only a part exists, per position
copies     pieces of operands gathered: what one copy of the row moves of a window inside the image (gemm), a pixel of
           a tile (depthwise)
moves      32 bytes of lines copied, with the zero point around them, in which windows are read as they lie
taps       pixels of operands gathered one by one, at the border or for one group of several
lines      lines of windows gathered (gemm), lines of outputs per tile (depthwise)
weights    bytes of weights that come from beyond the second cache
once       the same where each is used for one group of positions only: nothing hides their way
far        bytes of inputs and outputs that the second cache does not hold all at once
reads      values read, under every position of a window
values     values written
blends     values mixed of four (bilinear), or gathered from far apart (depth to space)
places     pixels visited
tables     tables of 256 integers, one for a channel, that are read or made
crossings  pixels gathered (depthwise) that touch two cache lines, because they do not begin on one
call       1
=========  ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Final

from oaq import operators as ops
from oaq.kernels.borders import Axis, Region, regions, shares
from oaq.kernels.lookup_work import PLACE, lookup_work
from oaq.kernels.table import KernelRow, native_matrix_row
from oaq.operators.tensor import Shape, as_image
from oaq.operators.windows import Window
from oaq.overflow.spill import RunCount

Work = Mapping[str, float]

KINDS: Final = (
    *(
        "steps",
        "loops",
        "turns",
        "spills",
        "starts",
        "outputs",
        "words",
        "one_by_one",
        "tails",
        "copies",
        "taps",
        "moves",
    ),
    *("lines", "weights", "once", "far", "reads", "values", "blends", "places", "tables", "crossings", "call"),
)
"""Everything that is counted."""
LINE = 64
"""Bytes of a cache line."""
MOVE = 32
"""Bytes of lines that are counted as one move."""


@dataclass(frozen=True)
class Memory:
    """Where a network finds its numbers.

    Attributes:
        cache: bytes of the second cache.
        cold: what one run of the network touches does not fit it: weights come from beyond.
    """

    cache: int
    cold: bool = False

    def beyond_cache(self, touched: int) -> dict[str, float]:
        """Count the bytes a node touches beyond what the cache holds."""
        return {"far": float(max(touched - self.cache, 0))}


@dataclass(frozen=True)
class Site:
    """Where a Conv2d or Linear stands: everything but its weights that decides how long it takes.

    Attributes:
        x: (H, W, C) of the input; a flat one is one pixel.
        y: (H, W, N) of the output.
        kernel: rows and columns of the window.
        stride: likewise.
        padding: top, bottom, left, right.
        dilation: rows and columns.
        groups: of the convolution.
        words: part of the results that is requantized in 16 bits.
        is_volume: its windows reach over planes.
        pads_with: the byte that padding holds; None if it is not known.
    """

    x: tuple[int, int, int]
    y: tuple[int, int, int]
    kernel: tuple[int, ...] = (1, 1)
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    words: float = 0.0
    is_volume: bool = False
    pads_with: int | None = None

    @property
    def positions(self) -> int:
        """Output positions of one sample."""
        return self.y[0] * self.y[1]

    @property
    def is_direct(self) -> bool:
        """The operands of a position lie in the input as kernels want them: nothing is gathered."""
        return self.kernel == self.stride == (1, 1) and not any(self.padding)

    @property
    def inside(self) -> int:
        """Output columns whose window does not leave the line."""
        reach = (self.kernel[1] - 1) * self.dilation[1]
        padding, stride = self.padding[2], self.stride[1]
        first = -(-padding // stride)
        end = min((self.x[1] - 1 - reach + padding) // stride + 1, self.y[1])
        return max(end - first, 0)


def lies_in_lines(row: KernelRow, site: Site) -> bool:
    """Whether ``row`` reads windows as they lie, in lines with the zero point around them.

    Native code decides it for its own rows and is asked; any other row is expected to decide like them.
    """
    if site.is_volume:
        return False
    module = native_matrix_row(row)
    if module is None:
        return expected_in_lines(row, site)
    geometry = (site.kernel, site.stride, site.padding, site.dilation)
    return module.reads_lines(row.name, site.x, site.y, *geometry, site.groups)


def expected_in_lines(row: KernelRow, site: Site) -> bool:
    """Whether a row that is not compiled in (a foreign table, a quantization target) is taken to read in lines.

    Windows lie together and make whole steps, and groups of positions are at least three quarters full.
    """
    step = row.accumulator.step if row.accumulator is not None else 1
    whole_steps = site.groups == 1 and site.dilation[1] == 1 and site.kernel[1] * site.x[2] % step == 0
    width = site.y[1]
    return (
        not site.is_direct
        and not site.is_volume
        and whole_steps
        and 4 * width >= 3 * row.tile_m * -(-width // row.tile_m)
    )


def site_of(op: ops.Products, x: Shape, y: Shape, words: float = 0.0, pads_with: int | None = None) -> Site:
    """Describe a node from the shapes of its input and output.

    ``words``: the part of its results that leaves in 16 bits; ``pads_with``: the byte that padding holds.
    """
    if op.window is None:
        return Site(as_image(x), as_image(y), words=words)
    return replace(window_site(op.window, x, y, groups=op.channel_groups, words=words), pads_with=pads_with)


def window_site(window: Window, x: Shape, y: Shape, *, groups: int = 1, words: float = 0.0) -> Site:
    """A window's site. Over a volume it is one of as many lines as all its planes have, gathered for every position."""
    volume = window.rank > 2
    if volume:
        (planes, *kernel), flat = window.kernel, window.of_planes()
        lies_ready = window.size == 1 and max(window.stride) == 1 and not any(window.padding)
        stride = (1, 1) if lies_ready else (2, flat.stride[1])  # a stride of lines that nothing is read through
        image = Window((planes * kernel[0], kernel[1]), stride, (0, 0, *flat.padding[2:]), (1, flat.dilation[1]))
    else:
        image = window.over_image()
    size = (as_image(x), as_image(y))
    return Site(*size, image.kernel, image.stride, image.padding, image.dilation, groups, words, volume)


def sum_work(
    row: KernelRow, site: Site, runs: RunCount, memory: Memory, *, one_by_one: bool = False
) -> dict[str, float]:
    """Work of a Conv2d or Linear on one sample.

    Args:
        row: that computes it; of family "gemm" or "depthwise", with a register.
        site: where the layer stands.
        runs: of its schedule.
        memory: what is near.
        one_by_one: results are requantized by scalar code.
    """
    step = 1
    if row.accumulator is not None:
        step = row.accumulator.step
        if row.never_narrow:
            # Native code makes one run of what a matrix tile executes; in depthwise tiles a step issued again starts
            # one. What runs go on behind is a piece more.
            reissued = 0 if row.family == "gemm" else runs.reissued
            runs = replace(runs, segments=runs.tiles + reissued, gaps=runs.gaps + runs.reissued - reissued)
        else:
            runs = replace(runs, gaps=0)  # each ends a run
    if row.looks_up:
        counts, step = lookup_work(row, site, runs), PLACE
    else:
        counts = _depthwise(row, site, runs) if row.family == "depthwise" else _gemm(row, site, runs)
    if memory.cold:
        read_once = row.family == "gemm" and site.positions <= row.tile_m
        counts["once" if read_once else "weights"] = float(runs.issues * row.tile_n * step)
    if one_by_one and not row.looks_up:
        counts["one_by_one"] = float(prod(site.y))
    return counts | memory.beyond_cache(prod(site.x) + prod(site.y)) | {"call": 1.0}


def _gemm(row: KernelRow, site: Site, runs: RunCount) -> dict[str, float]:
    positions, per_group = site.positions, site.y[2] // site.groups
    width = row.tile_n // row.parts
    registers = site.groups * -(-per_group // width)
    share = registers / runs.tiles  # of a tile's registers, the mean over tiles: the last may need fewer
    places, groups = _by_place(row, site)
    return {
        "steps": places * runs.issues * share,
        "turns": groups * (runs.issues + runs.gaps) * share,
        "spills": places * (runs.segments - runs.tiles) * share,
        "starts": float(groups * runs.segments),
        **_leaving(positions * registers, site.words),
        "tails": float(positions * site.groups * (per_group % width > 0)),
        **_gathered(row, site),
    }


def _by_place(row: KernelRow, site: Site) -> tuple[float, float]:
    """(positions, groups of them), each counted as the part of its window that sees the image."""
    if not lies_in_lines(row, site):
        return site.positions, -(-site.positions // row.tile_m)
    axes = [
        Axis(site.kernel[at], site.stride[at], site.dilation[at], site.padding[2 * at], site.x[at], site.y[at])
        for at in (0, 1)
    ]
    uncut = (Region(site.y[0], site.y[1], prod(site.kernel)),)
    leaves_out = any(site.padding) and site.pads_with == row.shift
    return shares(regions(row.tile_m, *axes) if leaves_out else uncut, row.tile_m, site.kernel)


def _leaving(registers: int, words: float) -> dict[str, float]:
    return {"outputs": registers * (1.0 - words), "words": registers * words}


def _gathered(row: KernelRow, site: Site) -> dict[str, float]:
    if site.is_direct:
        return {}
    rows, columns = site.kernel
    if lies_in_lines(row, site):
        height = (site.y[0] - 1) * site.stride[0] + (rows - 1) * site.dilation[0] + 1
        return {"moves": height * prod(site.x[1:]) / MOVE} if any(site.padding) else {}
    together = site.groups == 1 and site.dilation[1] == 1
    inside = site.y[0] * site.inside if together else 0
    return {
        "lines": float(inside * rows),
        "copies": float(inside * rows * -(-columns * site.x[2] // row.copy_bytes)),
        "taps": float((site.positions - inside) * site.groups * rows * columns),
    }


def _depthwise(row: KernelRow, site: Site, runs: RunCount) -> dict[str, float]:
    positions = site.positions
    is_square = site.kernel[0] == site.kernel[1] and site.kernel[0] in row.squares and site.dilation == (1, 1)
    is_unrolled = not row.squares or (is_square and runs.issues == runs.tiles * runs.steps)
    lines = (site.y[0] - 1) * site.stride[0] + (site.kernel[0] - 1) * site.dilation[0] + 1
    copies = runs.tiles * min(lines, site.x[0]) * site.x[1]
    is_narrow = row.accumulator is not None and row.accumulator.bits < 32
    is_spilled = (is_narrow and runs.segments > runs.tiles) or not is_unrolled  # such sums leave as floats
    return {
        "steps": float(positions * runs.issues),
        "loops": 0.0 if is_unrolled else float(positions * runs.issues),
        "spills": float(positions * (runs.segments - runs.tiles)),
        **_leaving(positions * runs.tiles, 0.0 if is_spilled else site.words),
        "lines": float(site.y[0] * runs.tiles),
        "tails": float(positions * (site.y[2] % row.tile_n > 0)),
        "copies": float(copies),
        "crossings": copies * _crossing(site.x[2], row.tile_n),
    }


def _crossing(channels: int, load: int) -> float:
    """Which part of loads of ``load`` bytes crosses a line, over pixels of ``channels`` bytes one after another."""
    pitch = gcd(channels, LINE)  # loads begin at multiples of this, equally often at each
    return sum(start + load > LINE for start in range(0, LINE, pitch)) * pitch / LINE


def other_work(op: ops.Op, x: Sequence[Shape], y: Shape, memory: Memory) -> dict[str, float]:
    """Work of a node that sums no products, on one sample; nothing for a reshape, which is done by sharing memory.

    Args:
        op: its operator.
        x: shapes of its inputs.
        y: shape of its output.
        memory: what is near.
    """
    rule = ops.rules_of(op).work
    if rule is None:
        raise TypeError(f"{type(op).__name__} sums products: its work depends on the row (sum_work)")
    counts = rule(op, x, y)
    return dict(counts) | memory.beyond_cache(sum(map(prod, x)) + prod(y)) if counts else {}
