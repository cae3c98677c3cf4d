"""``robustness``: attack, ranges, bounds, tree, enumeration, in the order in which they are cheap."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.reference.run import run
from oaq.robust import certificate as certificates
from oaq.robust import tree
from oaq.robust.attack import attack
from oaq.robust.cases import Pair, against, cases_of
from oaq.robust.certificate import Certificate, RangeClaim
from oaq.robust.lower import lower
from oaq.robust.milp import SolverOutcome, solve_pairs
from oaq.robust.narrow import narrowed
from oaq.robust.network import Network, elements
from oaq.robust.ranges import Limits, Range, Ranges, intervals
from oaq.robust.region import Region, ball
from oaq.robust.tree import Search, Setting
from oaq.robust.verdict import OpenCase, Robustness

SECONDS = 10.0
THOROUGH_SECONDS = 60.0
ATTACK_STEPS = 30
SOLVER = "highs"
FEW = 1 << 10
"""A box of at most this many inputs is run whole before anything else."""
MANY = 1 << 22
"""A box of at most this many inputs may be run whole when all else is undecided."""
AT_ONCE = 256
_LOWERED: OrderedDict[int, tuple[IntProgram, Network]] = OrderedDict()


@dataclass(frozen=True)
class Options:
    """How a query is decided.

    Attributes:
        seconds: of search; a limit makes an answer undecided, never proved.
        nodes: splits.
        sums: compare the last accumulators, not the u8 outputs.
        enumerate: run boxes of at most ``MANY`` inputs whole where bounds do not decide.
        certify: keep what makes the answer checkable.
        solver: "highs" looks for an input in the second half of the time, where nothing else has decided.

    Raises:
        ConfigError: no such solver.
    """

    seconds: float = SECONDS
    nodes: int = 1_000_000
    sums: bool = False
    enumerate: bool = True
    certify: bool = True
    solver: str | None = None

    def __post_init__(self) -> None:
        if self.solver not in (None, SOLVER):
            raise ConfigError(f"the solver is {SOLVER!r} or none, not {self.solver!r}")


@dataclass(frozen=True, eq=False)
class Query:
    """A set and what must hold on it."""

    program: IntProgram
    network: Network
    region: Region
    label: int
    pairs: tuple[Pair, ...]
    options: Options


def robustness(
    program: IntProgram,
    x: NDArray[np.uint8],
    region: Region | int,
    options: Options | None = None,
) -> Robustness:
    """Whether every input of a set around ``x`` gets the label that ``x`` gets: the first greatest output.

    Args:
        program: of one input and one output.
        x: one sample, uint8, in the program's own layout.
        region: a set around ``x``, or the radius of a ball in integer steps.
        options: effort and law.

    Returns:
        robust (with a certificate), refuted (with an input that the reference ran), or undecided with the best bounds.

    Raises:
        ConfigError: the program has several inputs or outputs, or ``region`` surrounds another input.
        ProgramError: ``x`` is not an input of ``program``.
    """
    begin = monotonic()
    region = ball(program, x, region) if isinstance(region, int | np.integer) else region
    if not np.array_equal(region.centre, x):
        raise ConfigError("the set surrounds another input; make it around the x that is asked about")
    query = _query(program, region, options or Options())
    answer = _decide(query, begin)
    return replace(answer, seconds=monotonic() - begin)


def _query(program: IntProgram, region: Region, options: Options) -> Query:
    network = lowered(program)
    label, sums = labels(program, region.centre[None], options.sums)[0], options.sums
    pairs = against(elements(network, network.outputs[0]), label, sums)
    if sums and network.names[pairs[0].up[0]] == "":
        raise ConfigError(f"{program.name}: its outputs are not requantized sums, so there are none to compare")
    return Query(program, network, region, label, pairs, options)


def lowered(program: IntProgram) -> Network:
    """``lower`` of one program, remembered for the last few."""
    key = id(program)
    if key not in _LOWERED or _LOWERED[key][0] is not program:
        _LOWERED[key] = (program, lower([program]))
        while len(_LOWERED) > 4:
            _LOWERED.popitem(last=False)
    return _LOWERED[key][1]


def labels(program: IntProgram, x: NDArray[np.uint8], sums: bool = False) -> list[int]:
    """The first greatest output of each sample, by the reference."""
    outcome = run(program, x, accumulators=sums)
    values = outcome.outputs[0]
    if sums:
        network = lowered(program)
        layer, element = elements(network, network.outputs[0])
        acc = outcome.accumulators.get(network.names[layer])
        if acc is None:
            raise ConfigError(f"{program.name}: its outputs are not sums of a Conv2d or Linear; compare u8 outputs")
        values = acc.reshape(len(x), -1)[:, element]
    return [int(label) for label in values.reshape(len(x), -1).argmax(axis=1)]


def _decide(query: Query, begin: float) -> Robustness:
    region, options = query.region, query.options
    if region.inputs is not None or (options.enumerate and region.count <= FEW):
        return _enumerate(query)
    network = query.network
    zero = network.zeros[0]
    box: Range = tuple(end.reshape(1, -1).astype(np.int64) - zero for end in (region.lo, region.hi))  # type: ignore[assignment]
    deadline = begin + options.seconds
    tree_deadline = deadline if options.solver is None else begin + options.seconds / 2
    search, claims, stage = _search(query, box, tree_deadline)
    if search.witness is None and search.open and options.enumerate and region.count <= MANY:
        return _enumerate(query)
    claimed: tuple[int, ...] = ()
    if search.witness is None and search.open and options.solver is not None:
        outcome = _ask_solver(network, box, search, deadline)
        search.witness, stage = outcome.witness, "solver"
        claimed = tuple(pair.rival for pair in outcome.infeasible)
    if search.witness is not None:
        return _refute(query, (search.witness[0] + zero).astype(np.uint8).reshape(region.lo.shape), stage, search.nodes)
    if search.open:
        return Robustness("undecided", query.label, open=_open_cases(search), nodes=search.nodes, claimed=claimed)
    proof = _certify(query, search, claims) if options.certify else None
    return Robustness("robust", query.label, stage=stage, nodes=search.nodes, certificate=proof)


def _ask_solver(network: Network, box: Range, search: Search, deadline: float) -> SolverOutcome:
    """An input for a pair that is open, those of greatest bound first."""
    by_rival = {case.rival: None for case in _open_cases(search)}
    pairs = {search.trees[leaf.tree].case.pair.rival: search.trees[leaf.tree].case.pair for leaf in search.open}
    setting = search.setting
    ranges = intervals(network, box, setting.limits, setting.needed)
    return solve_pairs(network, box, ranges, [pairs[rival] for rival in by_rival], deadline)


def _open_cases(search: Search) -> tuple[OpenCase, ...]:
    """Greatest bound of each rival, greatest first."""
    best: dict[int, float] = {}
    for leaf in search.open:
        rival = search.trees[leaf.tree].case.pair.rival
        best[rival] = max(best.get(rival, leaf.bound), leaf.bound)
    return tuple(OpenCase(rival, best[rival]) for rival in sorted(best, key=lambda rival: -best[rival]))


def _search(query: Query, box: Range, deadline: float) -> tuple[Search, list[RangeClaim], str]:
    """From cheap to dear; returns when a stage has decided."""
    network, pairs = query.network, query.pairs
    needed = network.needed(network.outputs)
    limits: Limits = {}
    claims: list[RangeClaim] = []
    search, ranges = _root(network, box, limits, pairs)
    if not search.open:
        return search, claims, "bound" if search.trees else "ranges"
    search.witness = attack(network, box, pairs, ATTACK_STEPS)
    if search.witness is not None:
        return search, claims, "attack"
    limits, claims = narrowed(network, box, needed, pairs[0].up[0], deadline)
    if claims:
        search, ranges = _root(network, box, limits, pairs)
    tree.refine(search, ranges, deadline)
    if search.is_closed or search.witness is not None:
        return search, claims, "bound"
    tree.split(search, deadline, query.options.nodes)
    return search, claims, "tree"


def _root(network: Network, box: Range, limits: Limits, pairs: Sequence[Pair]) -> tuple[Search, Ranges]:
    """What the first multipliers close, and the ranges it rests on."""
    needed = network.needed(network.outputs)
    ranges = intervals(network, box, limits, needed)
    cases = [case for pair in pairs for case in cases_of(network, ranges, pair)]
    return tree.root(Setting(network, box, limits, pairs, needed), ranges, cases), ranges


def _refute(query: Query, witness: NDArray[np.uint8], stage: str, nodes: int) -> Robustness:
    """Only what the reference confirms counts."""
    label = labels(query.program, witness[None], query.options.sums)[0]
    if label == query.label:
        raise AssertionError(f"{query.program.name}: the search's integers are not the reference's; please report this")
    parts = certificates.common(query.program, query.region, query.label, query.options.sums, "refuted")
    proof = certificates.refuted(parts, witness, label)
    return Robustness("refuted", query.label, witness, label, stage=stage, nodes=nodes, certificate=proof)


def _certify(query: Query, search: Search, claims: Sequence[RangeClaim]) -> Certificate:
    parts = certificates.common(query.program, query.region, query.label, query.options.sums, "proved")
    return certificates.proved(parts, search.trees, claims, tree.BITS)


def _enumerate(query: Query) -> Robustness:
    """Run every member on the reference."""
    for batch_of_inputs in members(query.region, AT_ONCE):
        called = labels(query.program, batch_of_inputs, query.options.sums)
        wrong = [at for at, label in enumerate(called) if label != query.label]
        if wrong:
            return _refute(query, batch_of_inputs[wrong[0]], "enumeration", 0)
    parts = certificates.common(query.program, query.region, query.label, query.options.sums, "proved")
    proof = certificates.enumerated(parts)
    return Robustness("robust", query.label, stage="enumeration", certificate=proof)


def members(region: Region, batch: int) -> Iterator[NDArray[np.uint8]]:
    """Every input of a set, (n, ...) uint8, n at most ``batch``."""
    if region.inputs is not None:
        for begin in range(0, len(region.inputs), batch):
            yield region.inputs[begin : begin + batch]
        return
    lo, hi = region.lo.ravel().astype(np.int64), region.hi.ravel().astype(np.int64)
    free = np.flatnonzero(lo < hi)
    widths = (hi - lo + 1)[free]
    for begin in range(0, region.count, batch):
        number = np.arange(begin, min(begin + batch, region.count))
        rows = np.repeat(lo[None], len(number), axis=0)
        for element, width in zip(free, widths, strict=True):
            rows[:, element] += number % width
            number = number // width
        yield rows.astype(np.uint8).reshape(-1, *region.lo.shape)
