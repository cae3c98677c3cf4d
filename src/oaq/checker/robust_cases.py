"""Cases of a violation: which values of which outputs they cover, for the checker of proofs about sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oaq.checker.robust_bounds import Spans
from oaq.checker.robust_claims import MOST_BITS, Claims
from oaq.checker.robust_layers import Box, Layered, Summing
from oaq.checker.robust_steps import Steps
from oaq.checker.robust_trees import Case, Place, check_tree, claimed_ranges
from oaq.errors import FormatError


@dataclass(frozen=True)
class Contest:
    """The violation value[up] >= value[down] + theta, values centred.

    Attributes:
        up: layer and element whose value must not win.
        down: those that it is compared with.
        theta: least excess.
        sums: accumulators are compared instead of values.
        name: for people.
    """

    up: Place
    down: Place
    theta: int
    sums: bool
    name: str


def check_cases(
    claims: Claims,
    network: Layered,
    box: Box,
    contests: Mapping[tuple[int, ...], Contest],
    fields: tuple[str, ...] = ("against",),
) -> list[str]:
    """Every case of every contest.

    Args:
        claims: of a proof by multipliers.
        network: what is bounded.
        box: the set.
        contests: all that have to be impossible, by the values of ``fields``.
        fields: of a case's header, by which it names its contest.

    Returns:
        what does not hold.
    """
    header = claims.header
    if set(header) != claims.keys | {"proof", "bits", "cases", "ranges"}:
        return ["has other fields than a proof by multipliers"]
    bits = header["bits"]
    if type(bits) is not int or not 0 <= bits <= MOST_BITS:
        raise FormatError(f"multipliers are integers of 2**-0 to 2**-{MOST_BITS}, not 2**-{str(bits)[:20]}")
    limits, findings = claimed_ranges(claims, network, box, bits)
    if findings:
        return findings
    corners = _Corners(network, Spans(network, box, limits, len(network.layers) - 1))
    covered: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for case in header["cases"]:
        if set(case) != {*fields, "first", "last"} or any(type(value) is not int for value in case.values()):
            raise FormatError(f"a case holds {', '.join(fields)} and two values")
        covered.setdefault(tuple(case[field] for field in fields), []).append((case["first"], case["last"]))
    for key, contest in contests.items():
        missing = corners.uncovered(contest, covered.get(key, []))
        if missing is not None:
            return [f"no case covers {contest.name} winning at value {missing}"]
    for at, case in enumerate(header["cases"]):
        contest = contests.get(tuple(case[field] for field in fields))
        if contest is None:
            raise FormatError(f"case {at}: nothing to prove against {[case[field] for field in fields]}")
        fault = check_tree(
            claims, (network, box, limits, bits), corners.case(contest, case["first"], case["last"]), f"cases/{at}"
        )
        if fault:
            return [f"case {at}, against {contest.name}: {fault}"]
    return []


class _Corners:
    """Corners of contests from the steps of the layers that decide them, inside proved ranges."""

    def __init__(self, network: Layered, span: Spans) -> None:
        self._network, self._span = network, span

    def _steps(self, place: Place) -> Steps:
        layer = self._network.layers[place[0]]
        assert isinstance(layer, Summing)
        return layer.steps

    def _ends(self, place: Place) -> tuple[int, int]:
        lo, hi = self._span.accumulators[place[0]]
        return int(lo[0, place[1]]), int(hi[0, place[1]])

    def _corner(self, contest: Contest, value: int) -> tuple[int, int] | None:
        """Least accumulator at ``up`` and greatest at ``down`` where ``down`` has this value and ``up`` wins."""
        up, down = self._steps(contest.up), self._steps(contest.down)
        (floor, most), (least, ceiling) = self._ends(contest.up), self._ends(contest.down)
        index = value + contest.theta - up.low
        if index >= up.first.shape[1]:
            return None
        if index > 0:
            floor = max(floor, int(up.first[up.owner[contest.up[1]], index]))
        ceiling = min(ceiling, int(down.last[down.owner[contest.down[1]], value - down.low]))
        return None if floor > most or ceiling < least else (floor, ceiling)

    def uncovered(self, contest: Contest, spans: list[tuple[int, int]]) -> int | None:
        """A value of ``down`` at which ``up`` could win and that no case covers."""
        if contest.sums:
            possible = self._ends(contest.up)[1] - self._ends(contest.down)[0] >= contest.theta
            return 0 if possible and (0, 0) not in spans else None
        for value in self._steps(contest.down).values:
            inside = any(first <= value <= last for first, last in spans)
            if not inside and self._corner(contest, int(value)) is not None:
                return int(value)
        return None

    def case(self, contest: Contest, first: int, last: int) -> Case:
        """The corners that a case covers."""
        if contest.sums:
            return Case(contest.up, contest.down, [0], [contest.theta], [0], True)
        steps = self._steps(contest.down)
        first, last = max(first, steps.low), min(last, steps.low + steps.first.shape[1] - 1)
        corners = {value: self._corner(contest, value) for value in range(first, last + 1)}
        possible = {value: corner for value, corner in corners.items() if corner is not None}
        floor, ceiling = ([corner[side] for corner in possible.values()] for side in (0, 1))
        return Case(contest.up, contest.down, list(possible), floor, ceiling, False)
