"""``tune``: other integers for a program, chosen on the machine that will run it.

1. Every layer is timed on every kernel row of the instruction sets asked for, inside the network (``timing``).
2. What coarser weights and fewer steps do to the outputs is measured on the program's own integers (``effects``).
3. An integer linear program picks steps of tensors and fills of layers inside all budgets (``solve``).
4. The best few choices are built, proved, run and timed; the integers decide (``decide``).

No float network, no training framework and no data are needed; data make the choice better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError, ProgramError
from oaq.program.int_program import IntProgram
from oaq.tune.decide import Candidate, ProgramBuilder, Timed, candidates_of
from oaq.tune.effects import Masks, group_laws, layer_laws
from oaq.tune.facts import Facts, Progress, costs_of, gather, groups_of, stands_of
from oaq.tune.problem import Group, Limits, Solution
from oaq.tune.record import Record, record_matches
from oaq.tune.solve import has_solver, solve
from oaq.tune.synthetic import synthetic_integers
from oaq.tune.timing import Timings, measure

Integers = NDArray[np.uint8]
Reals = NDArray[np.float64]
SAMPLES: Final = 32
RUNNERS: Final = 8
"""Choices that are built and measured."""
DISTANCE: Final = 3
"""Groups whose steps differ between any two of them."""
CORRECTIONS: Final = 2
"""Searches repeated with budgets lowered by how far the best candidate overshot."""
NOTHING: Final = 0.02
"""Part of the time that narrower integers have to save at least."""
TOLERANCE: Final = 0.005
"""By what measured seconds may exceed a budget: noise of the clock."""


@dataclass(frozen=True)
class Goal:
    """What a choice has to reach.

    Attributes:
        isas: instruction sets, all of whose budgets hold at once.
        budget: most seconds on each, as a multiple of the same network summed in 16 bits without a spill.
        seconds: most seconds of one sample on one thread on each; instead of ``budget``.
        sqnr: least signal to noise of the outputs beside the given program's, in dB; time is minimised then.
    """

    isas: tuple[str, ...] = ("avx2",)
    budget: float | None = 1.05
    seconds: float | None = None
    sqnr: float | None = None

    def __post_init__(self) -> None:
        if not self.isas:
            raise ConfigError("tune needs an instruction set to tune for")
        if self.budget is not None and not self.budget >= 1.0:
            raise ConfigError(f"a budget is at least 1.0, not {self.budget!r}")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"seconds are positive, not {self.seconds!r}")


@dataclass(frozen=True, eq=False)
class Tuned:
    """What ``tune`` chose.

    Attributes:
        program: the result; the one given if nothing could be gained.
        goal: what was asked for.
        chosen: None if nothing could be gained.
        candidates: what was built and measured.
        before: seconds of the given program by instruction set, measured in the same run as the candidates.
        ideal: seconds by instruction set of the same network without a spill.
        record: everything measured; a second run with it repeats the choice.
        synthetic: no data were given.
        notes: what a reader should know.
    """

    program: IntProgram
    goal: Goal
    chosen: Candidate | None
    candidates: tuple[Candidate, ...]
    before: tuple[float, ...]
    ideal: tuple[float, ...]
    record: Record
    synthetic: bool
    notes: tuple[str, ...]

    @property
    def sqnr(self) -> float:
        """Of the result's outputs beside the given program's, dB; infinity if they are equal."""
        return decibels(0.0 if self.chosen is None else self.chosen.noise)


def decibels(noise: float) -> float:
    """Noise in parts of power as a ratio of signal to noise."""
    return -10 * log10(noise) if noise > 0 else float("inf")


def tune(
    program: IntProgram,
    goal: Goal | None = None,
    data: Sequence[Integers] | None = None,
    *,
    record: Record | None = None,
    threads: int = 1,
    progress: Progress = lambda items, label: items,
) -> Tuned:
    """Choose narrower integers where they pay on this machine.

    Args:
        program: any; its integers count as the real values.
        goal: None asks for a budget of 1.05 on AVX2.
        data: integers of every input, (samples, ...) each; None draws synthetic ones.
        record: of an earlier run on this machine with this program: nothing is measured again.
        threads: of the runs that measure effects; times are of one thread.
        progress: wraps an iterable of steps under a label.

    Raises:
        ConfigError: the goal cannot be reached, or the record is of another program or machine.
        NoKernel: this CPU lacks an instruction set.
    """
    goal = goal or Goal()
    x = [synthetic_integers(program.tensors[name], SAMPLES) for name in program.inputs] if data is None else list(data)
    if len(x) != len(program.inputs) or any(not len(value) for value in x):
        raise ProgramError(f"data are one array of at least one sample for each of {len(program.inputs)} inputs")
    if record is not None:
        record_matches(record, program, goal.isas)
    timings = record.timings if record else tuple(measure(program, isa, progress=progress) for isa in goal.isas)
    facts = gather(program, x, threads, progress)
    masks = Masks(program, x, threads)
    laws = record.laws if record else _laws(facts, masks, progress)
    costs = costs_of(facts, stands_of(facts, timings), progress)
    ideal = tuple(_ideal(each) for each in timings)
    made = record or Record.of(program, timings, laws, synthetic=data is None)
    search = _Search(goal, facts, costs, made)
    if search.nothing_to_gain():
        note = f"narrower integers save less than {NOTHING:.1%} on {', '.join(goal.isas)}: sums are exact there"
        return Tuned(program, goal, None, (), (), ideal, made, data is None, (note,))
    return _decided(search, facts, masks, record=made, x=x, progress=progress)


def _laws(facts: Facts, masks: Masks, progress: Progress):  # noqa: ANN202
    errors = {
        group: lambda steps, group=group: facts.group_error(group, steps)
        for group in facts.readers
        if group not in facts.fixed
    }
    return layer_laws(masks, list(facts.layers.values()), progress), group_laws(masks, errors, facts.spans, progress)


def _ideal(timings: Timings) -> float:
    return sum(timings.others.values()) + sum(
        min(line.fixed for line in rows.values()) for rows in timings.lines.values()
    )


class _Search:
    """Budgets of a goal as limits of the integer program."""

    def __init__(self, goal: Goal, facts: Facts, costs: Mapping[str, Reals], record: Record) -> None:
        self.goal, self._facts, self._record = goal, facts, record
        self._costs = dict(costs)
        self.ideal = [_ideal(each) for each in record.timings]
        self.others = [sum(each.others.values()) for each in record.timings]
        self.lowered = [1.0] * len(self.ideal)

    @cached_property
    def groups(self) -> list[Group]:
        """What the integer program chooses from."""
        return groups_of(self._facts, self._costs, self._record.laws)

    def correct(self, candidates: Sequence[Candidate]) -> None:
        """Scale every layer's seconds by what it took in the candidates beyond what was predicted for them."""
        for place, names in self._places:
            for which, name in enumerate(names):
                ratios = []
                for candidate in candidates:
                    step, fills = candidate.solution.picks[place]
                    ratios.append([nodes[name] for nodes in candidate.nodes] / self._costs[name][:, step, fills[which]])
                if ratios:
                    factor = np.maximum(np.median(ratios, axis=0), 1.0)
                    self._costs[name] = self._costs[name] * factor[:, None, None]
        self.__dict__.pop("groups", None)

    @property
    def _places(self) -> list[tuple[int, tuple[str, ...]]]:
        return list(enumerate(self._facts.readers.values()))

    @property
    def budgets(self) -> list[float | None]:
        """Most seconds of the whole network on each instruction set."""
        if self.goal.seconds is not None:
            return [self.goal.seconds] * len(self.ideal)
        if self.goal.budget is None or self.goal.sqnr is not None:
            return [None] * len(self.ideal)
        return [self.goal.budget * seconds for seconds in self.ideal]

    def nothing_to_gain(self) -> bool:
        """Whether the weights as they are cost about as little as any on every instruction set."""
        for index in range(len(self.ideal)):
            unchanged = sum(float(reader.cost[index, 0, -1]) for group in self.groups for reader in group.readers)
            least = sum(float(reader.cost[index].min()) for group in self.groups for reader in group.readers)
            if unchanged + self.others[index] > (least + self.others[index]) * (1 + NOTHING):
                return False
        return True

    def limits(self) -> Limits:
        costs = tuple(
            None if budget is None else max(budget * lowered - others, 1e-9)
            for budget, lowered, others in zip(self.budgets, self.lowered, self.others, strict=True)
        )
        noise = None if self.goal.sqnr is None else 10 ** (-self.goal.sqnr / 10)
        return Limits(costs, noise)

    def solutions(self) -> list[Solution]:
        """The best choices, each apart from those before it.

        Raises:
            ConfigError: not even the narrowest integers reach the goal.
        """
        solutions: list[Solution] = []
        while len(solutions) < (RUNNERS if has_solver() else 1):
            solution = solve(self.groups, self.limits(), solutions, DISTANCE)
            if solution is None:
                break
            solutions.append(solution)
        if not solutions:
            raise ConfigError(
                "no choice of integers reaches this goal here; the least is "
                + ", ".join(f"{isa} {self.least(i) * 1e3:.3f} ms" for i, isa in enumerate(self.goal.isas))
            )
        return solutions

    def least(self, index: int) -> float:
        """Least seconds of any choice on one instruction set."""
        layers = sum(float(reader.cost[index].min()) for group in self.groups for reader in group.readers)
        return layers + self.others[index]


def _decided(
    search: _Search, facts: Facts, masks: Masks, *, record: Record, x: Sequence[Integers], progress: Progress
) -> Tuned:
    builder, goal = ProgramBuilder(facts, masks), search.goal
    runs: list[Timed] = []
    for attempt in range(1 + CORRECTIONS):
        try:
            solutions = search.solutions()
        except ConfigError:
            if not attempt:
                raise
            break
        runs.append(candidates_of(solutions, builder, goal.isas, x, progress))
        search.ideal = list(runs[-1].ideal)
        if any(_holds(candidate, search) for candidate in runs[-1].candidates):
            break
        if not attempt:
            search.correct(runs[-1].candidates)
            continue
        over = _overshoot(runs[-1].candidates, search)
        search.lowered = [lowered / excess for lowered, excess in zip(search.lowered, over, strict=True)]
    candidates = [candidate for run in runs for candidate in run.candidates]
    holding = [candidate for candidate in candidates if _holds(candidate, search)]
    notes = [] if holding else ["no candidate kept the budgets when it was timed; the nearest is taken"]
    if record.synthetic:
        notes.append("no data were given: effects were measured on synthetic inputs, so the choice is rougher")
    chosen = _best(holding or candidates, search)
    program = replace(chosen.program, metadata={**chosen.program.metadata, **_metadata(goal, record, chosen)})
    return Tuned(
        program,
        goal,
        chosen,
        tuple(candidates),
        runs[-1].before,
        runs[-1].ideal,
        record,
        record.synthetic,
        tuple(notes),
    )


def _best(candidates: Iterable[Candidate], search: _Search) -> Candidate:
    if search.goal.sqnr is not None:
        return min(candidates, key=lambda candidate: sum(candidate.seconds))
    return min(candidates, key=lambda candidate: candidate.noise)


def _holds(candidate: Candidate, search: _Search) -> bool:
    if search.goal.sqnr is not None and decibels(candidate.noise) < search.goal.sqnr:
        return False
    return all(
        budget is None or seconds <= budget * (1 + TOLERANCE)
        for seconds, budget in zip(candidate.seconds, search.budgets, strict=True)
    )


def _overshoot(candidates: Sequence[Candidate], search: _Search) -> list[float]:
    """By what factor the fastest candidate exceeds each budget."""
    if not candidates:
        return [1.0 + NOTHING] * len(search.ideal)
    best = min(candidates, key=lambda candidate: sum(candidate.seconds))
    return [
        1.0 if budget is None else max(seconds / budget, 1.0)
        for seconds, budget in zip(best.seconds, search.budgets, strict=True)
    ]


def _metadata(goal: Goal, record: Record, chosen: Candidate) -> dict[str, str]:
    asked = (
        f"sqnr {goal.sqnr:g} dB"
        if goal.sqnr is not None
        else (f"{goal.seconds:g} s" if goal.seconds is not None else f"budget {goal.budget:g}")
    )
    return {
        "tuned": f"{asked} on {', '.join(goal.isas)}, {'synthetic inputs' if record.synthetic else 'data'}, "
        f"gap {chosen.solution.gap:.2%}, record {record.digest[:16]}"
    }
