"""Other integers for a program, chosen on the machine that will run it.

1. Every layer is timed on every kernel row of the instruction sets asked for, inside the network (``timing``).
2. What coarser weights and fewer steps do to the outputs is measured on the program's own integers (``effects``).
3. An integer linear program picks steps of tensors and fills of layers inside all budgets (``solve``, ``search``).
4. A few choices are built, proved, run and timed. Predictions are corrected by them, and the program is solved again:
   the integers of the best few decide (``decide``).

No float network, no training framework and no data are needed; data make the choice better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError, ProgramError
from oaq.operators.products import multipliers_of
from oaq.program.inputs import ProgramInputs
from oaq.program.int_program import IntProgram
from oaq.runtime.values import by_native, to_integers
from oaq.tune.decide import ProgramBuilder, Timed, candidates_of
from oaq.tune.effects import Masks, group_laws, layer_laws
from oaq.tune.facts import Facts, Progress, costs_of, gather, stands_of
from oaq.tune.goal import Goal, Tuned
from oaq.tune.record import Laws, Record, record_matches
from oaq.tune.search import NOTHING, RUNNERS, Search, can_gain, least_seconds
from oaq.tune.synthetic import synthetic_integers
from oaq.tune.timing import measure

Integers = NDArray[np.uint8]
PROBES: Final = 3
"""Choices that are built and measured first, to correct predictions."""
SEARCHES: Final = 3
"""Searches in all: the probes, the runners, and once more if no runner reaches the goal."""


def choose(
    program: IntProgram,
    data: Iterable[ProgramInputs] | None,
    goal: Goal,
    *,
    record: Record | None,
    samples: int,
    threads: int,
    progress: Progress,
) -> Tuned:
    """Search for the narrower integers that reach ``goal``; arguments, result and errors as of ``oaq.tune``."""
    if record is not None:
        record_matches(record, program, goal.isas)
    for node in program.summing_nodes():
        multipliers_of(node.products, node.name)  # refuses layers that wrap by design before anything is measured
    x = _synthetic(program, samples) if data is None else _integers(program, data, samples)
    timings = record.timings if record else tuple(measure(program, name, progress=progress) for name in goal.isas)
    facts = gather(program, x, threads, progress)
    costs = costs_of(facts, stands_of(facts, timings), progress)
    if not can_gain(costs, timings):
        note = f"narrower integers save less than {NOTHING:.0%} on {', '.join(goal.isas)}: a budget buys nothing there"
        measured = record or Record.measured(program, timings, ({}, {}), synthetic=data is None)
        least = least_seconds(costs, [part.constant for part in timings])
        return Tuned(program, goal, None, (), (), least, measured, data is None, (note,))
    masks = Masks(program, x, threads)
    laws = record.laws if record else _laws(facts, masks, progress)
    measured = record or Record.measured(program, timings, laws, synthetic=data is None)
    return _decided(Search(goal, facts, costs, measured), ProgramBuilder(facts, masks), measured, x, progress)


def _synthetic(program: IntProgram, samples: int) -> list[Integers]:
    return [synthetic_integers(program.tensors[name], samples) for name in program.inputs]


def _integers(program: IntProgram, data: Iterable[ProgramInputs], samples: int) -> list[Integers]:
    """The first samples of some batches: one array per input."""
    parts: list[tuple[Integers, ...]] = []
    count = 0
    for batch in data:
        parts.append(to_integers(program, batch, by_native))
        count += len(parts[-1][0])
        if count >= samples:
            break
    if not count:
        raise ProgramError("data hold no sample; give at least one, or none of them at all for synthetic inputs")
    return [np.concatenate(arrays)[:samples] for arrays in zip(*parts, strict=True)]


def _laws(facts: Facts, masks: Masks, progress: Progress) -> Laws:
    errors = {
        group: lambda steps, group=group: facts.group_error(group, steps)
        for group in facts.readers
        if group not in facts.fixed
    }
    return layer_laws(masks, list(facts.layers.values()), progress), group_laws(masks, errors, facts.spans, progress)


def _decided(
    search: Search, builder: ProgramBuilder, record: Record, x: Sequence[Integers], progress: Progress
) -> Tuned:
    """Probe, correct, search again; the best measured candidate that reaches the goal and saves ``NOTHING`` or more.

    Raises:
        ConfigError: no choice reaches the goal even as predicted.
    """
    goal, runs = search.goal, list[Timed]()
    for attempt in range(SEARCHES):
        try:
            proposals = search.proposals(RUNNERS if attempt else PROBES)
        except ConfigError:
            if not any(run.candidates for run in runs):
                raise
            break
        run = candidates_of(proposals, builder, goal.isas, x, progress)
        runs.append(run)
        search.correct(run.candidates)
        if attempt and any(search.holds(candidate) for candidate in run.candidates):
            break
    candidates = [candidate for run in runs for candidate in run.candidates]
    if not candidates:
        raise ConfigError("none of the choices could be built and proved; ask for a larger budget")
    holding = [candidate for candidate in candidates if search.holds(candidate)]
    notes = [] if holding else ["no candidate kept the budgets when it was timed; the nearest is taken"]
    if record.synthetic:
        notes.append("no data were given: effects were measured on synthetic inputs, so the choice is rougher")
    choice = search.best(holding) if holding else search.nearest(candidates)
    before = next(run.before for run in runs if any(choice is candidate for candidate in run.candidates))
    least = search.least
    if all(after > seconds * (1 - NOTHING) for after, seconds in zip(choice.seconds, before, strict=True)):
        note = f"narrower integers saved less than {NOTHING:.0%} on {', '.join(goal.isas)} when they were timed"
        return Tuned(builder.program, goal, None, tuple(candidates), before, least, record, record.synthetic, (note,))
    inputs = "synthetic inputs" if record.synthetic else "data"
    note = f"{goal.words}, {inputs}, gap {choice.proposal.solution.gap:.2%}, record {record.digest[:16]}"
    program = replace(choice.program, metadata={**choice.program.metadata, "tuned": note})
    return Tuned(program, goal, choice, tuple(candidates), before, least, record, record.synthetic, tuple(notes))
