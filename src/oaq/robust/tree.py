"""Splitting what one bound does not decide: every split cuts an accumulator's range, or an input's, at an integer.

A tree belongs to one case. Its leaves are closed by integer multipliers, or because their limits contradict each other.
The search takes the leaves of greatest bound first; the corner that reaches a bound is run, and refutes if it violates.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

import numpy as np

from oaq.robust.attack import violated
from oaq.robust.branch import CORNERS, INPUT, Split, choose
from oaq.robust.cases import Pair, ViolationCase, corners_between, objectives
from oaq.robust.dual import Relaxed, relax
from oaq.robust.network import Network, trace
from oaq.robust.objective import Bounded, Objectives, Proved, exact, first_bound, improve
from oaq.robust.ranges import Limits, Range, Ranges, intervals
from oaq.robust.staircase import Ints, Reals

ROOT_STAGES = (0, 10, 30, 80)
"""Iterations of each stage at the roots; cases that a stage closes leave."""
CHILD_ITERATIONS = 60
BATCH = 24
"""Leaves split at once."""
BITS = 20
"""Multipliers are integers of 2**-BITS."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """How a leaf is closed: integer multipliers and the bound they give, or nothing if its limits contradict."""

    up_weight: int
    down_weight: int
    multipliers: dict[int, Reals]
    bound: int
    bits: int


@dataclass
class Tree:
    """The splits of one case.

    Attributes:
        case: which.
        splits: (layer, element, threshold, left, right) per node: left is acc <= threshold - 1; left = -1 at a leaf.
        leaves: by node: ``None`` where the limits contradict each other.
    """

    case: ViolationCase
    splits: list[tuple[int, int, int, int, int]] = field(default_factory=lambda: [(0, 0, 0, -1, -1)])
    leaves: dict[int, Leaf | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Open:
    """A leaf that is not closed yet."""

    tree: int
    node: int
    path: tuple[tuple[Split, bool], ...]
    bounded: Bounded

    @property
    def bound(self) -> float:
        """D of its one row."""
        return float(self.bounded.bound[0])


@dataclass(frozen=True)
class Effort:
    """How long to search.

    Attributes:
        seconds: of the whole query.
        nodes: splits, over all cases.
    """

    seconds: float = 10.0
    nodes: int = 1_000_000


@dataclass(frozen=True, eq=False)
class Setting:
    """One query: network, box, what is known, what must not happen."""

    network: Network
    box: Range
    limits: Limits
    pairs: Sequence[Pair]
    needed: frozenset[int]


@dataclass(eq=False)
class Search:
    """The state of a query.

    Attributes:
        setting: what is searched.
        trees: one per case.
        open: leaves not closed, all cases.
        witness: (1, inputs) centred integers that violate, once there are some.
        nodes: splits made.
    """

    setting: Setting
    trees: list[Tree]
    open: list[Open] = field(default_factory=list)
    witness: Ints | None = None
    nodes: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether every case is proved impossible."""
        return not self.open and self.witness is None

    def replay(self, corners: Reals) -> None:
        """Keep the first corner that violates a pair."""
        network = self.setting.network
        x = corners.astype(np.int64)
        if not len(x):
            return
        hit = violated(network, trace(network, x), self.setting.pairs)
        if (hit >= 0).any():
            self.witness = x[int(np.argmax(hit >= 0))][None]


def root(setting: Setting, ranges: Ranges, cases: Sequence[ViolationCase]) -> Search:
    """Close what the first multipliers close.

    Args:
        setting: the query.
        ranges: over its box and limits: one row.
        cases: all that have to be impossible.
    """
    search = Search(setting, [Tree(case) for case in cases])
    if not cases:
        return search
    relaxed = relax(setting.network, ranges, setting.needed)
    bounded = first_bound(relaxed, objectives(cases))
    alive = _close(search, relaxed, bounded, np.arange(len(cases)))
    _reopen(search, bounded, alive)
    return search


def refine(search: Search, ranges: Ranges, deadline: float) -> None:
    """More iterations at the roots, in stages."""
    relaxed = relax(search.setting.network, ranges, search.setting.needed)
    for iterations in ROOT_STAGES[1:]:
        if not search.open or search.witness is not None or monotonic() > deadline:
            return
        alive = np.array([leaf.tree for leaf in search.open])
        bounded = improve(relaxed, _stacked([leaf.bounded for leaf in search.open]), iterations)
        rows = _close(search, relaxed, bounded, alive)
        search.open = []
        search.replay(np.concatenate([bounded.corner[rows], np.rint(bounded.mean[INPUT][rows])]))
        for row in rows:
            search.open.append(Open(int(alive[row]), 0, (), bounded.take(np.array([row]))))


def split(search: Search, deadline: float, most: int) -> None:
    """Split leaves, those of greatest bound first, until none is open, one refutes, or effort is spent."""
    heap = [(-leaf.bound, at, leaf) for at, leaf in enumerate(search.open)]
    heapq.heapify(heap)
    count = len(heap)
    while heap and search.witness is None and monotonic() < deadline and search.nodes < most:
        worst = [heapq.heappop(heap)[2] for _ in range(min(BATCH, len(heap)))]
        for child in _children(search, worst):
            heapq.heappush(heap, (-child.bound, count, child))
            count += 1
    search.open = [leaf for _, _, leaf in heap]


def _children(search: Search, leaves: list[Open]) -> list[Open]:
    setting = search.setting
    relaxed = relax(setting.network, under(setting, [leaf.path for leaf in leaves]), setting.needed)
    splits = choose(relaxed, _stacked([leaf.bounded for leaf in leaves]))
    search.nodes += len(leaves)
    paths, starts = [], []
    owners: list[tuple[int, int]] = []
    for leaf, split_found in zip(leaves, splits, strict=True):
        tree = search.trees[leaf.tree]
        cut = _at_middle_corner(tree.case, leaf.path) if split_found.layer == CORNERS else split_found
        first_child = len(tree.splits)
        tree.splits[leaf.node] = (cut.layer, cut.element, cut.threshold, first_child, first_child + 1)
        tree.splits += [(0, 0, 0, -1, -1)] * 2
        for side in (False, True):
            paths.append((*leaf.path, (cut, side)))
            owners.append((leaf.tree, first_child + side))
            starts.append(_with_corners(leaf.bounded, tree.case, paths[-1]) if cut.layer == CORNERS else leaf.bounded)
    ranges = under(setting, paths)
    for row in np.flatnonzero(ranges.empty):
        search.trees[owners[row][0]].leaves[owners[row][1]] = None
    rows = np.flatnonzero(~ranges.empty)
    if not len(rows):
        return []
    relaxed = relax(setting.network, ranges.rows(rows), setting.needed)
    bounded = improve(relaxed, _stacked([starts[row] for row in rows]), CHILD_ITERATIONS, (0.05, 0.003))
    alive = _close(
        search, relaxed, bounded, np.array([owners[row][0] for row in rows]), [owners[row][1] for row in rows]
    )
    if len(alive):
        search.replay(np.concatenate([bounded.corner[alive], np.rint(bounded.mean[INPUT][alive])]))
    return [
        Open(owners[int(rows[at])][0], owners[int(rows[at])][1], paths[int(rows[at])], bounded.take(np.array([at])))
        for at in alive
    ]


def _values(case: ViolationCase, path: Sequence[tuple[Split, bool]]) -> tuple[int, int]:
    """First and last value whose corners a path leaves."""
    first, last = case.first, case.last
    for cut, above in path:
        if cut.layer == CORNERS:
            first, last = (max(first, cut.threshold), last) if above else (first, min(last, cut.threshold - 1))
    return first, last


def _at_middle_corner(case: ViolationCase, path: Sequence[tuple[Split, bool]]) -> Split:
    first, last = _values(case, path)
    values = case.values[(case.values >= first) & (case.values <= last)]
    return Split(CORNERS, 0, int(values[len(values) // 2]))


def _with_corners(bounded: Bounded, case: ViolationCase, path: Sequence[tuple[Split, bool]]) -> Bounded:
    floor, ceiling = corners_between(case, *_values(case, path))
    ends = {"floor": floor[None].astype(np.float64), "ceiling": ceiling[None].astype(np.float64)}
    return replace(bounded, objectives=replace(bounded.objectives, **ends))


def under(setting: Setting, paths: Sequence[tuple[tuple[Split, bool], ...]]) -> Ranges:
    """Ranges of the set, cut by the splits of each path: one row per path."""
    rows = len(paths)
    box = tuple(np.repeat(end, rows, axis=0) for end in setting.box)
    limits = {at: (np.repeat(lo, rows, axis=0), np.repeat(hi, rows, axis=0)) for at, (lo, hi) in setting.limits.items()}
    for row, path in enumerate(paths):
        for cut, above in path:
            if cut.layer == CORNERS:
                continue
            ends = box if cut.layer == INPUT else limits.setdefault(cut.layer, _wide(setting.network, cut.layer, rows))
            if above:
                ends[0][row, cut.element] = max(ends[0][row, cut.element], cut.threshold)
            else:
                ends[1][row, cut.element] = min(ends[1][row, cut.element], cut.threshold - 1)
    return intervals(setting.network, (box[0], box[1]), limits, setting.needed)


def _wide(network: Network, layer: int, rows: int) -> Range:
    size = _accumulators(network, layer)
    return np.full((rows, size), -(1 << 62), np.int64), np.full((rows, size), 1 << 62, np.int64)


def _accumulators(network: Network, at: int) -> int:
    return network.sizes[network.layers[at].output]


def _close(search: Search, relaxed: Relaxed, bounded: Bounded, trees: Ints, nodes: Sequence[int] | None = None) -> Ints:
    """Record rows whose exact integer bound is negative; return the others."""
    hopeful = np.flatnonzero(bounded.bound < 0)
    if not len(hopeful):
        return np.arange(len(bounded.bound))
    closed = np.zeros(len(bounded.bound), bool)
    hopes = bounded.take(hopeful)
    proof = exact(_selected_rows(relaxed, hopeful), hopes, BITS)
    for at, row in enumerate(hopeful):
        if proof.bound[at] < 0:
            closed[row] = True
            node = 0 if nodes is None else nodes[int(row)]
            search.trees[int(trees[row])].leaves[node] = leaf_of(proof, at)
    return np.flatnonzero(~closed)


def leaf_of(proof: Proved, row: int) -> Leaf:
    """One row of exact multipliers."""
    mus = {layer: mu[row].astype(np.int64) for layer, mu in proof.multipliers.items()}
    return Leaf(int(proof.up_weight[row]), int(proof.down_weight[row]), mus, int(proof.bound[row]), proof.bits)


def _selected_rows(relaxed: Relaxed, rows: Ints) -> Relaxed:
    """The chosen rows, where the set has a row for each; itself where one serves all."""
    if len(relaxed.ranges.empty) == 1:
        return relaxed
    return relax(relaxed.network, relaxed.ranges.rows(rows), relaxed.needed)


def _reopen(search: Search, bounded: Bounded, alive: Ints) -> None:
    search.open = [Open(int(row), 0, (), bounded.take(np.array([row]))) for row in alive]


def _stacked(rows: Sequence[Bounded]) -> Bounded:
    """Single rows as one batch."""
    first = rows[0]
    longest = max(row.objectives.floor.shape[1] for row in rows)

    def corners(name: str) -> Reals:
        parts = [getattr(row.objectives, name) for row in rows]
        return np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1])), mode="edge") for part in parts])

    def joined(name: str) -> Reals:
        return np.concatenate([getattr(row.objectives, name) for row in rows])

    batch = Objectives(
        up=first.objectives.up,
        down=first.objectives.down,
        up_element=joined("up_element").astype(np.int64),
        down_element=joined("down_element").astype(np.int64),
        floor=corners("floor"),
        ceiling=corners("ceiling"),
        free=joined("free").astype(bool),
        share=joined("share"),
        tied=first.objectives.tied,
    )
    mus = {at: np.concatenate([row.multipliers[at] for row in rows]) for at in first.multipliers}
    bound, corner = (np.concatenate([getattr(row, name) for row in rows]) for name in ("bound", "corner"))
    mean = {at: np.concatenate([row.mean[at] for row in rows]) for at in first.mean}
    return Bounded(batch, mus, bound, corner, mean)
