"""In which regions a graph of steps of two kinds is run: as few as possible, each convex."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

INTEGER: Final = "integer"
FLOAT: Final = "float"
DYNAMIC: Final = "dynamic"
FUSED: Final = "fused"
"""Kind of steps in float that loops of our own compute; their regions are float regions."""


@dataclass(frozen=True)
class Step:
    """One node of either kind.

    Attributes:
        kind: of the region it can stand in.
        reads: keys of what it needs; those that no step writes are there from the start.
        writes: keys of what it computes, each written by one step only.
    """

    kind: str
    reads: tuple[Hashable, ...]
    writes: tuple[Hashable, ...]


def regions_of(steps: Sequence[Step]) -> list[list[int]]:
    """The steps in groups of one kind, by index; running the groups in turn runs every step after what it reads.

    A group takes every step of its kind that is ready, and those that become ready by them. Which kind begins is tried
    both ways; the fewer groups win, integers first in a tie.

    Args:
        steps: in an execution order.
    """
    late = _late(steps)
    early = [index for index in range(len(steps)) if index not in late]
    kinds = sorted({steps[index].kind for index in early}, key=lambda kind: (kind != INTEGER, kind))
    scheduled = [steps[index] for index in early]
    attempts = [_alternating(scheduled, kinds[first:] + kinds[:first]) for first in range(len(kinds))]
    groups = [[early[at] for at in group] for group in min(attempts, key=len, default=[])]
    for index in sorted(late, reverse=True):
        readers = [
            at for at, group in enumerate(groups) if any(_reads(steps[member], steps[index]) for member in group)
        ]
        groups[min(readers)].append(index)
    return [sorted(group) for group in groups]


def _late(steps: Sequence[Step]) -> set[int]:
    """Steps that need nothing but constants, and that only steps of their own kind read: they stand beside these."""
    constant: set[Hashable] = set()
    written = {key for step in steps for key in step.writes}
    sources = set()
    for index, step in enumerate(steps):
        if all(key in constant for key in step.reads if key in written) and not set(step.reads) - written:
            sources.add(index)
            constant.update(step.writes)
    late: set[int] = set()
    for index in sorted(sources, reverse=True):
        readers = [reader for reader in steps if _reads(reader, steps[index])]
        if readers and all(reader.kind == steps[index].kind for reader in readers):
            late.add(index)
    early = {key for index, step in enumerate(steps) if index not in late for key in step.writes}
    for index in sorted(late):  # what one of them reads stands beside it, or it waits like any other
        if early.intersection(steps[index].reads):
            late.remove(index)
            early.update(steps[index].writes)
    return late


def _reads(step: Step, source: Step) -> bool:
    return bool(set(step.reads).intersection(source.writes))


def _alternating(steps: Sequence[Step], kinds: Sequence[str]) -> list[list[int]]:
    writers = {key: index for index, step in enumerate(steps) for key in step.writes}
    waits = [{writers[key] for key in step.reads if key in writers} for step in steps]
    pending = list(range(len(steps)))
    finished: set[int] = set()
    groups: list[list[int]] = []
    turn = idle = 0
    while pending:
        if idle == len(kinds):
            raise ValueError("steps wait for each other; a graph that was read has no cycle")
        kind, group, later = kinds[turn % len(kinds)], [], []
        for index in pending:  # an execution order, so one pass reaches all that become ready
            if steps[index].kind == kind and waits[index] <= finished:
                group.append(index)
                finished.add(index)
            else:
                later.append(index)
        if group:
            groups.append(group)
        pending, turn, idle = later, turn + 1, 0 if group else idle + 1
    return groups
