"""The best few choices as programs: built, proved, run and timed. Predictions propose, integers decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.kernels.plan import Plan, plan
from oaq.operators.products import multipliers_of
from oaq.program.int_program import IntProgram
from oaq.report.latency import pinned
from oaq.runtime.session import Session
from oaq.tune.effects import Masks
from oaq.tune.facts import Facts, Progress
from oaq.tune.layers import FILLS
from oaq.tune.problem import Proposal, Solution
from oaq.tune.rebuild import LayerWeights, rebuilt, takes_words, word_growth
from oaq.tune.timing import Laps, joined, run_laps

Integers = NDArray[np.uint8]
ROUNDS = 9
LAPS = 3


@dataclass(frozen=True, eq=False)
class RunTimes:
    """What a run of one sample on one thread takes.

    Attributes:
        nodes: median seconds by node.
        overhead: seconds of the call beyond its nodes.
    """

    nodes: Mapping[str, float]
    overhead: float

    @property
    def seconds(self) -> float:
        """The whole network: the sum of the nodes' medians and the overhead."""
        return self.overhead + sum(self.nodes.values())


@dataclass(frozen=True, eq=False)
class Candidate:
    """A choice as a program.

    Attributes:
        proposal: what was predicted.
        steps: by group that changed.
        fills: by layer whose weights are other integers than before.
        program: what it became.
        noise: at the outputs, in parts of the power of the program that was given.
        times: by instruction set.
    """

    proposal: Proposal
    steps: Mapping[str, int]
    fills: Mapping[str, float]
    program: IntProgram
    noise: float
    times: tuple[RunTimes, ...]

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds of one sample on one thread, by instruction set."""
        return tuple(times.seconds for times in self.times)


class ProgramBuilder:
    """Builds programs from choices; the weights of a layer are rounded once per fill and steps."""

    def __init__(self, facts: Facts, masks: Masks) -> None:
        self._facts, self._masks = facts, masks
        self._group_of = {name: group for group, readers in facts.readers.items() for name in readers}
        self._ops = {node.name: node.products for node in facts.program.summing_nodes()}
        self._rounded: dict[tuple[str, float, int], LayerWeights] = {}

    @property
    def program(self) -> IntProgram:
        """The program that was given."""
        return self._facts.program

    def choice(self, solution: Solution) -> tuple[dict[str, int], dict[str, float]]:
        """Steps by changed group, fill by changed layer."""
        steps: dict[str, int] = {}
        fills: dict[str, float] = {}
        for (group, readers), (step, picked) in zip(self._facts.readers.items(), solution.picks, strict=True):
            candidates = self._facts.steps_of(group)
            if step:
                steps[group] = candidates[step]
            for name, fill in zip(readers, picked, strict=True):
                if fill < len(FILLS):
                    fills[name] = FILLS[fill]
        return steps, fills

    def build(self, steps: Mapping[str, int], fills: Mapping[str, float], metadata: Mapping[str, str]) -> IntProgram:
        """The program with these steps and fills.

        Raises:
            ProgramError: a multiplier or a bias cannot be held.
        """
        weights = {name: self._rounded_within(name, fill, self._count(name, steps)) for name, fill in fills.items()}
        draft = rebuilt(self.program, steps, weights, metadata)
        changed = {node.name: node for node in draft.summing_nodes() if node.op is not self._ops[node.name]}
        for name, node in changed.items():
            requantize, x, y = (
                multipliers_of(node.products, name),
                draft.tensors[node.inputs[0]],
                draft.tensors[node.output],
            )
            if not takes_words(requantize, y):
                continue
            factor = word_growth(requantize, x, y)
            if factor.max() > 1.0:
                chosen_weights = weights.get(name)
                step = factor if chosen_weights is None else chosen_weights.step * factor
                fill = fills.get(name, float("inf"))
                weights[name] = self._facts.layers[name].fed_back_at(step, fill, self._count(name, steps))
        return rebuilt(self.program, steps, weights, metadata)

    def _count(self, name: str, steps: Mapping[str, int]) -> int:
        """Steps of the tensor that a layer reads."""
        group = self._group_of[name]
        return steps.get(group, self._facts.spans[group])

    def _rounded_within(self, name: str, fill: float, count: int) -> LayerWeights:
        key = (name, fill, count)
        if key not in self._rounded:
            self._rounded[key] = self._facts.layers[name].fed_back(fill, count)
        return self._rounded[key]

    def changes_weights(self, name: str, program: IntProgram) -> bool:
        """Whether a layer has other weights in ``program``: all of them may lie inside its fill as they are."""
        (weight,) = (node.products.weight for node in program.summing_nodes() if node.name == name)
        return not np.array_equal(weight, self._ops[name].weight)

    def noise_of(self, program: IntProgram) -> float:
        """Noise at the outputs beside the program that was given."""
        return self._masks.noise_of_program(program)


@dataclass(frozen=True, eq=False)
class Timed:
    """Candidates and what they are compared with, timed in one interleaved run.

    Attributes:
        candidates: those that could be built and proved.
        before: seconds of the given program, by instruction set.
    """

    candidates: tuple[Candidate, ...]
    before: tuple[float, ...]


def candidates_of(
    proposals: Sequence[Proposal],
    builder: ProgramBuilder,
    isas: Sequence[str],
    x: Sequence[Integers],
    progress: Progress,
) -> Timed:
    """Build every choice that can be built and proved, and time all of them side by side."""
    built: list[tuple[Proposal, dict[str, int], dict[str, float], IntProgram]] = []
    for index in progress(range(len(proposals)), "build candidates"):
        steps, fills = builder.choice(proposals[index].solution)
        try:
            program = builder.build(steps, fills, {})
            plan(program, isas[0])
        except (ProgramError, AccumulatorOverflow):
            continue
        coarser = {name: fill for name, fill in fills.items() if builder.changes_weights(name, program)}
        built.append((proposals[index], steps, coarser, program))
    original = builder.program
    programs = (original, *(program for *_, program in built))
    before, *measured = timed([[plan(program, isa) for isa in isas] for program in programs], x, progress)
    candidates = [
        Candidate(proposal, steps, fills, program, builder.noise_of(program), times)
        for (proposal, steps, fills, program), times in zip(built, measured, strict=True)
    ]
    return Timed(tuple(candidates), tuple(times.seconds for times in before))


def timed(plans: Sequence[Sequence[Plan]], x: Sequence[Integers], progress: Progress) -> list[tuple[RunTimes, ...]]:
    """Times of one sample on one thread, by row and column of ``plans``; all of them interleaved."""
    flat = [plan for row in plans for plan in row]
    samples = [_clipped(plan.program, x) for plan in flat]
    with pinned(1):
        sessions = [Session(plan, threads=1) for plan in flat]
        laps: list[list[Laps]] = [[] for _ in flat]
        for _ in progress(range(ROUNDS), "time candidates"):
            for session, by_round, sample in zip(sessions, laps, samples, strict=True):
                by_round.append(run_laps(session, sample, LAPS))
    times = iter([_times(plan, joined(by_round)) for plan, by_round in zip(flat, laps, strict=True)])
    return [tuple(next(times) for _ in row) for row in plans]


def _times(plan: Plan, laps: Laps) -> RunTimes:
    names = (planned.node.name for planned in plan.nodes)
    return RunTimes(dict(zip(names, map(float, laps.medians), strict=True)), laps.overhead)


def _clipped(program: IntProgram, x: Sequence[Integers]) -> list[Integers]:
    """One sample inside the ranges that a program declares for its inputs."""
    specs = [program.tensors[name] for name in program.inputs]
    return [np.clip(value[:1], spec.range.lo, spec.range.hi) for spec, value in zip(specs, x, strict=True)]
