"""The integer program of a goal: its budgets, what was predicted, and how measured candidates correct predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.tune.decide import Candidate
from oaq.tune.facts import Facts, groups_of
from oaq.tune.goal import Goal, decibels
from oaq.tune.problem import Group, Limits, Proposal, Solution
from oaq.tune.record import Record
from oaq.tune.solve import has_solver, solve
from oaq.tune.timing import Timings

Reals = NDArray[np.float64]
RUNNERS: Final = 8
"""Choices that are built and measured."""
DISTANCE: Final = 3
"""Groups whose steps differ between any two of them."""
NOTHING: Final = 0.02
"""Part of the time that narrower integers have to save at least."""
SLACK: Final = 2e-4
"""Part of a budget that goes into rounding costs up to whole parts; without it the fastest choice breaks its own."""
TOLERANCE: Final = 0.005
"""Part by which measured seconds may exceed a budget: noise of the clock."""


class Search:
    """Budgets of a goal as limits of the integer program.

    Attributes:
        goal: to be reached.
    """

    def __init__(self, goal: Goal, facts: Facts, costs: Mapping[str, Reals], record: Record) -> None:
        self.goal, self._facts, self._record = goal, facts, record
        self._costs = dict(costs)
        self._constant = [timings.constant for timings in record.timings]
        self._noise_factor = 1.0

    @cached_property
    def groups(self) -> list[Group]:
        """What the integer program chooses from."""
        return groups_of(self._facts, self._costs, self._record.laws)

    @property
    def budgets(self) -> list[float | None]:
        """Most seconds of the whole network on each instruction set."""
        if self.goal.sqnr is not None:
            return [None for _ in self.goal.isas]
        if self.goal.seconds is not None:
            return [self.goal.seconds for _ in self.goal.isas]
        return [None if self.goal.budget is None else self.goal.budget * seconds for seconds in self.least]

    @property
    def least(self) -> tuple[float, ...]:
        """Least seconds of any choice, by instruction set: sums without a spill where narrow rows are the fastest."""
        return least_seconds(self._costs, self._constant)

    def limits(self) -> Limits:
        """Budgets less what no choice changes; a limit of noise in sums of predicted parts."""
        costs = tuple(
            None if budget is None else max(budget - constant, 1e-9) * (1 + SLACK)
            for budget, constant in zip(self.budgets, self._constant, strict=True)
        )
        most = self.goal.most_noise
        return Limits(costs, None if most is None else most / self._noise_factor)

    def proposals(self, count: int) -> list[Proposal]:
        """The best choices, each apart from those before it; a single one without a solver.

        Raises:
            ConfigError: not even the narrowest integers reach the goal.
        """
        solutions: list[Solution] = []
        while len(solutions) < (count if has_solver() else 1):
            solution = solve(self.groups, self.limits(), solutions, DISTANCE)
            if solution is None:
                break
            solutions.append(solution)
        if not solutions:
            raise ConfigError(
                "no choice of integers reaches this goal here; the least is "
                + ", ".join(
                    f"{isa} {least * 1e3:.3f} ms" for isa, least in zip(self.goal.isas, self.least, strict=True)
                )
            )
        return [self._proposal(solution) for solution in solutions]

    def _proposal(self, solution: Solution) -> Proposal:
        seconds = tuple(float(cost) + part for cost, part in zip(solution.costs, self._constant, strict=True))
        return Proposal(solution, solution.error * self._noise_factor, seconds)

    def correct(self, candidates: Sequence[Candidate]) -> None:
        """Scale predictions by what candidates measured: every layer's seconds, the constant part, the noise.

        Args:
            candidates: built and timed.
        """
        if not candidates:
            return
        for place, names in enumerate(self._facts.readers.values()):
            for reader, name in enumerate(names):
                self._costs[name] = self._costs[name] * self._cost_factor(candidates, place, reader, name)
        layers = [name for names in self._facts.readers.values() for name in names]
        for index in range(len(self._constant)):
            times = [candidate.times[index] for candidate in candidates]
            rests = [run.seconds - sum(run.nodes[name] for name in layers) for run in times]
            self._constant[index] = max(float(np.median(rests)), 0.0)
        errors = np.array([candidate.proposal.solution.error for candidate in candidates])
        noises = np.array([candidate.noise for candidate in candidates])
        if (errors > 0).all() and (noises > 0).all():
            self._noise_factor = float(np.median(noises / errors))
        self.__dict__.pop("groups", None)

    def _cost_factor(self, candidates: Sequence[Candidate], place: int, reader: int, name: str) -> Reals:
        """(R, 1, 1) measured seconds of a layer in parts of its costs."""
        ratios = []
        for candidate in candidates:
            step, fills = candidate.proposal.solution.picks[place]
            measured = np.array([times.nodes[name] for times in candidate.times])
            ratios.append(measured / self._costs[name][:, step, fills[reader]])
        return np.median(ratios, axis=0)[:, None, None]

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate, as measured, reaches the goal."""
        if self.goal.sqnr is not None and decibels(candidate.noise) < self.goal.sqnr:
            return False
        return all(
            budget is None or seconds <= budget * (1 + TOLERANCE)
            for seconds, budget in zip(candidate.seconds, self.budgets, strict=True)
        )

    def best(self, candidates: Sequence[Candidate]) -> Candidate:
        """The fastest under a limit of noise, else the one of least noise."""
        if self.goal.sqnr is not None:
            return min(candidates, key=lambda candidate: sum(candidate.seconds))
        return min(candidates, key=lambda candidate: candidate.noise)

    def nearest(self, candidates: Sequence[Candidate]) -> Candidate:
        """The one that misses the goal by least: of limited seconds, or of noise."""
        if self.goal.sqnr is not None:
            return min(candidates, key=lambda candidate: candidate.noise)
        budgets = [np.inf if budget is None else budget for budget in self.budgets]
        return min(candidates, key=lambda candidate: float(np.max(np.array(candidate.seconds) / budgets)))


def can_gain(costs: Mapping[str, Reals], timings: Sequence[Timings]) -> bool:
    """Whether narrower integers save ``NOTHING`` or more on some instruction set.

    Args:
        costs: by layer, (R, S, Z + 1) seconds; the last of the first steps is the layer as it is.
        timings: of every instruction set.
    """
    constant = [part.constant for part in timings]
    unchanged = [
        part + sum(float(cost[index, 0, -1]) for cost in costs.values()) for index, part in enumerate(constant)
    ]
    least = least_seconds(costs, constant)
    return any(seconds > fastest * (1 + NOTHING) for seconds, fastest in zip(unchanged, least, strict=True))


def least_seconds(costs: Mapping[str, Reals], constant: Sequence[float]) -> tuple[float, ...]:
    """Seconds of the fastest choice, by instruction set; ``constant`` is what no choice changes."""
    return tuple(part + sum(float(cost[index].min()) for cost in costs.values()) for index, part in enumerate(constant))
