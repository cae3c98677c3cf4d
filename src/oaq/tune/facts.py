"""What is known of a program on a machine before anything is chosen: its layers, their times, their effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.choose.feedback import feedback_gain
from oaq.kernels.cost import predictor_of
from oaq.kernels.cost_files import costs_from
from oaq.kernels.table import KernelRow, native_rows, rows_for
from oaq.kernels.work import site_of
from oaq.program.int_program import IntProgram, Node
from oaq.tune.effects import PowerLaw, rounding_error
from oaq.tune.layers import FILLS, STEPS, Stand, TuneLayer, cost_table, tune_layer
from oaq.tune.observe import observe, operand_moments, output_weight
from oaq.tune.problem import Group, Reader
from oaq.tune.rebuild import affine_groups, group_range, thinned_groups
from oaq.tune.timing import Timings

Integers = NDArray[np.uint8]
Reals = NDArray[np.float64]
Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Facts:
    """A program's layers and tensors as the search sees them.

    Attributes:
        program: whose integers count as real values.
        layers: summing nodes whose weights may change, by name.
        readers: by group, the names of the layers that read it.
        spans: by group that layers read, its integer range in steps.
        fixed: groups whose steps stay: those of inputs and outputs.
        counts: by group, (256,) how often each integer occurs in its first tensor.
    """

    program: IntProgram
    layers: Mapping[str, TuneLayer]
    readers: Mapping[str, tuple[str, ...]]
    spans: Mapping[str, int]
    fixed: frozenset[str]
    counts: Mapping[str, NDArray[np.int64]]

    def steps_of(self, group: str) -> tuple[int, ...]:
        """Candidate step counts of a group, its own first."""
        span = self.spans[group]
        return (span,) if group in self.fixed else (span, *(steps for steps in STEPS if steps < span))

    def group_error(self, group: str, steps: int) -> float:
        """Mean squared rounding error of a group at ``steps``, in its own steps."""
        return rounding_error(self.counts[group], self.spans[group], steps)


def gather(program: IntProgram, x: Sequence[Integers], threads: int, progress: Progress) -> Facts:
    """Observe ``program`` on samples and lay out its layers.

    Args:
        program: to be tuned.
        x: integers of every input, (samples, ...).
        threads: of native sessions.
        progress: wraps an iterable of steps under a label.
    """
    roots = affine_groups(program)
    members: dict[str, list[str]] = {}
    for name, root in roots.items():
        members.setdefault(root, []).append(name)
    kept = {roots[name] for name in (*program.inputs, *program.outputs)} | thinned_groups(program)
    summing = list(program.summing_nodes())
    read = list(dict.fromkeys(roots[node.inputs[0]] for node in summing))
    spans = {root: group_range(program, members[root]).steps for root in read}
    observed = observe(program, x, [*(node.inputs[0] for node in summing), *read], threads)
    layers: dict[str, TuneLayer] = {}
    readers: dict[str, list[str]] = {root: [] for root in read}
    for index in progress(range(len(summing)), "observe layers"):
        node = summing[index]
        root = roots[node.inputs[0]]
        readers[root].append(node.name)
        layers[node.name] = _layer(program, node, spans[root], observed.tensors[node.inputs[0]])
    return Facts(
        program,
        layers,
        {root: tuple(names) for root, names in readers.items()},
        spans,
        frozenset(root for root in read if root in kept or spans[root] <= STEPS[-1]),
        {root: observed.counts(root) for root in read},
    )


def _layer(program: IntProgram, node: Node, span: int, x: Integers) -> TuneLayer:
    moments = operand_moments(program, node, x)
    row = next(row for row in native_rows() if row.family == ops.family_of(node.op) and row.isa != "scalar")
    return tune_layer(node, moments, span, row.tile_n, output_weight(node.products))


def stands_of(facts: Facts, timings: Sequence[Timings]) -> dict[str, tuple[Stand, ...]]:
    """Where each layer stands on each instruction set, by layer."""
    program, planner = facts.program, predictor_of(facts.program, costs_from())
    stands = {}
    for name, layer in facts.layers.items():
        node = layer.node
        x, y = (program.tensors[tensor] for tensor in (node.inputs[0], node.output))
        site = site_of(node.products, x.shape, y.shape, 1.0, x.affine.zero_point)
        stands[name] = tuple(Stand(_rows(layer, isa_timings), site, planner, isa_timings) for isa_timings in timings)
    return stands


def costs_of(facts: Facts, stands: Mapping[str, Sequence[Stand]], progress: Progress) -> dict[str, Reals]:
    """(R, S, Z + 1) seconds of each layer on each instruction set, by step count and fill (``cost_table``)."""
    steps = {name: facts.steps_of(group) for group, names in facts.readers.items() for name in names}
    names = list(facts.layers)
    return {
        names[index]: np.stack(
            [cost_table(facts.layers[names[index]], stand, steps[names[index]]) for stand in stands[names[index]]]
        )
        for index in progress(range(len(names)), "count spills")
    }


def groups_of(
    facts: Facts, costs: Mapping[str, Reals], laws: tuple[Mapping[str, PowerLaw], Mapping[str, PowerLaw]]
) -> list[Group]:
    """The choices of the search, with their predicted noise and seconds.

    Args:
        facts: of the program.
        costs: seconds by layer (``costs_of``).
        laws: of layers and of groups of tensors.
    """
    layer_laws, group_laws = laws
    groups = []
    for group, names in facts.readers.items():
        steps = facts.steps_of(group)
        law = group_laws.get(group)
        error = np.array([0.0 if law is None else law.effect(facts.group_error(group, count)) for count in steps])
        readers = tuple(_reader(facts.layers[name], steps, costs[name], layer_laws[name]) for name in names)
        groups.append(Group(group, error, readers))
    return groups


def _reader(layer: TuneLayer, steps: Sequence[int], cost: Reals, law: PowerLaw) -> Reader:
    gain = feedback_gain(layer.moments, layer.feedback)
    error = np.array(
        [[law.effect(gain * layer.predicted_error(fill, count)) for fill in FILLS] + [0.0] for count in steps]
    )
    return Reader(layer.node.name, error, cost)


def _rows(layer: TuneLayer, timings: Timings) -> tuple[KernelRow, ...]:
    """Rows that were timed for a layer."""
    lines = timings.lines[layer.node.name]
    return tuple(row for row in rows_for(timings.isa, native_rows()) if row.name in lines)
