"""One spill schedule: its shape, its law, and every lane and group of every run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from oaq.checker.executed import REPORTED, Block, Claimed, Find, Runs, read_claims
from oaq.checker.modular import Executed, replay
from oaq.checker.program import NamedArrays
from oaq.checker.ranges import Ints
from oaq.checker.registers import Register
from oaq.checker.sums import Lanes, SummingLayer
from oaq.checker.tiling import Tiling
from oaq.checker.verdict import Finding, Notes


def check_schedule(
    layer: SummingLayer, model: tuple[str, Register], tile_n: int, claims: NamedArrays, notes: Notes
) -> None:
    """Check one schedule of ``layer``, a block of tiles at a time; findings go to ``notes``.

    Raises:
        FormatError: its tiles are much larger than the layer.
    """
    name, register = model

    def find(message: str, tile: int | None = None, segment: int | None = None) -> None:
        notes.findings.append(Finding(layer.node, message, name, tile, segment))

    tiling = Tiling(layer, tile_n, register.step)
    tiling.require_sane()
    segments = _segments(claims, tiling.tiles, tiling.steps, register)
    if isinstance(segments, str):
        find(segments)
        return
    claimed = read_claims(claims, tiling, int(segments[:, 2].sum()))
    if isinstance(claimed, str):
        find(claimed)
        return
    starts = np.cumsum(segments[:, 2]) - segments[:, 2]
    runs, outside = Runs(starts, np.zeros((len(segments), 2), np.int64)), _Outside(register)
    for block in _blocks(tiling, segments, starts, claimed):
        for rows in block.chunks():
            executed, row = block.executed(rows), block.row + rows.start
            if claimed.packed is not None and not np.array_equal(claimed.packed[row : row + len(executed)], executed):
                find("packed weights are not those of the segments")
                return
            lanes = block.lanes(executed, rows, register)
            runs.add(lanes, row)
            outside.add(lanes, row)
        block.check_law(find)
    notes.segments += len(segments)
    _check_runs(segments, runs.ends // 2, claims, (register, layer.modulo), find)
    if layer.modulo is not None:
        _replay(tiling, segments, starts, claimed, (register, find))
    for row, least, most in outside.steps[:REPORTED]:
        segment = int(np.searchsorted(starts, row, side="right")) - 1
        find(
            f"one instruction can reach [{least}, {most}], outside {register.bits} bits",
            int(segments[segment, 0]),
            segment,
        )


def _segments(claims: NamedArrays, tile_count: int, steps: int, register: Register) -> Ints | str:
    segments = claims.get("segments")
    if segments is None or segments.dtype != np.int32 or segments.ndim != 2 or segments.shape[1:] != (3,):
        return "segments are (R, 3) int32"
    if not len(segments):
        return "no segment at all"
    segments = segments.astype(np.int64)
    tile, start, count = segments.T
    inside = (tile >= 0) & (tile < tile_count) & (start >= 0) & (count >= 1) & (start + count <= steps)
    if not inside.all():
        row = int(np.argmin(inside))
        return f"segment {row} {segments[row].tolist()} leaves {tile_count} tiles of {steps} steps"
    if int(count.sum()) > 16 * tile_count * steps:
        return f"{int(count.sum())} steps executed for {tile_count} tiles of {steps}"
    if np.any(np.diff(tile) < 0):
        return "segments are not ordered by tile"
    if register.max_run is not None and int(count.max()) > register.max_run:
        return f"a run of {int(count.max())} steps on a register that is spilled every {register.max_run}"
    return segments


def _blocks(tiling: Tiling, segments: Ints, starts: Ints, claimed: Claimed) -> Iterator[Block]:
    """The layer, block by block: tiles that nothing executes included."""
    for first, last in tiling.blocks():
        begin, end = (int(place) for place in np.searchsorted(segments[:, 0], (first, last)))
        tile, start, count = segments[begin:end].T
        row = int(starts[begin]) if begin < len(starts) else len(claimed.split_of)
        within = np.arange(int(count.sum())) - np.repeat(starts[begin:end] - row, count)
        at = np.repeat((tile - first) * tiling.steps + start, count) + within
        weight = tiling.cut(tiling.layer.weight, first, last)
        operands = (tiling.operands(ends, first, last) for ends in (tiling.layer.lo, tiling.layer.hi))
        yield Block(tiling, (first, last), row, at, claimed, weight, *operands)


class _Outside:
    """Executed steps one of whose groups leaves the register: (row, least, most)."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self.steps: list[tuple[int, int, int]] = []

    def add(self, lanes: Lanes, row: int) -> None:
        """Add those of one chunk, which begins at ``row``."""
        if lanes.least is None or lanes.most is None:
            return
        wrong = (lanes.least < 2 * self.register.least) | (lanes.most > 2 * self.register.most)
        for at in np.nonzero(wrong)[0][:REPORTED]:
            self.steps.append((row + int(at), int(lanes.least[at]) // 2, int(lanes.most[at]) // 2))


def _replay(tiling: Tiling, segments: Ints, starts: Ints, claimed: Claimed, judge: tuple[Register, Find]) -> None:
    """Replay some outputs of a layer whose sums count modulo 2**b: the first, the last and one between."""
    register, find = judge
    tile, slot = tiling.places()
    outputs = sorted({0, len(tile) // 2, len(tile) - 1})
    for block in _blocks(tiling, segments, starts, claimed):
        for output in (output for output in outputs if block.tiles[0] <= tile[output] < block.tiles[1]):
            rows = np.nonzero(segments[:, 0] == tile[output])[0]
            weights = block.executed(slice(None))[:, slot[output]]
            runs = [
                (int(segments[row, 1]), weights[starts[row] - block.row :][: int(segments[row, 2])]) for row in rows
            ]
            sentence = replay(tiling.layer, register, Executed(output, runs))
            if sentence is not None:
                find(sentence, int(tile[output]))


def _check_runs(
    segments: Ints, ends: Ints, claims: NamedArrays, model: tuple[Register, int | None], find: Find
) -> None:
    register, modulo = model
    claimed = claims.get("bounds")
    if claimed is None or not np.issubdtype(claimed.dtype, np.integer) or claimed.shape != ends.shape:
        find(f"bounds are {ends.shape} integers")
        return
    for row in np.nonzero((claimed.astype(np.int64) != ends).any(axis=1))[0][:REPORTED]:
        find(f"bound stated {claimed[row].tolist()}, derived {ends[row].tolist()}", int(segments[row, 0]), int(row))
    if not register.lanes_must_fit(modulo):
        return
    for row in np.nonzero((ends[:, 0] < register.least) | (ends[:, 1] > register.most))[0][:REPORTED]:
        tile, start, count = segments[row].tolist()
        find(
            f"steps {start}..{start + count - 1}: a {register.bits}-bit lane can reach {ends[row].tolist()}",
            tile,
            int(row),
        )
