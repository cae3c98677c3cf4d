"""Ask oaq: build, prove, plan, run one sample program, and compare everything with the oracle."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness import oracle
from benchmarks.soundness.draw import Drawn, draw
from benchmarks.soundness.inputs import draw_inputs
from benchmarks.soundness.laws import Ints, Step, held_in_32_bits, loaded, modulo
from benchmarks.soundness.oracle import Truth
from benchmarks.soundness.refusals import judged, kind_of, lawless, may_leave
from benchmarks.soundness.registers import PlainSchedule, broken_rules
from oaq.errors import AccumulatorOverflow, NoKernel, OaqError
from oaq.kernels.plan import NodePlan, Plan, plan
from oaq.kernels.table import KernelRow, cpu_isas, native_rows
from oaq.operators import Products
from oaq.overflow.analyze import analyze
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram, Node
from oaq.program.plain import from_plain
from oaq.runtime.session import Session

POSITIONS: Final = 12
"""Windows of a layer that are executed in simulated registers; kernels execute all of them."""
GROUP: Final = 3
"""Programs in a group: the first is planned for an instruction set, the others for forced rows."""
THREADED: Final = 50
"""One program in so many runs on two threads as well."""


@dataclass(frozen=True, eq=False)
class Executors:
    """Who may run programs.

    Attributes:
        isas: instruction sets of this machine.
        rows: rows that can be forced, by family, where a family has several.
    """

    isas: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


@dataclass
class Report:
    """What one program, or many, showed.

    Attributes:
        counts: by kind of count and name.
        differences: (index, sentences) of programs where oaq and the oracle disagree.
    """

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[tuple[int, list[str]]] = field(default_factory=list)


def executors(table: Sequence[KernelRow] | None = None) -> Executors:
    """The executors of this machine, from the table of kernel rows."""
    rows = [row for row in (table or native_rows()) if row.available]
    families: dict[str, list[str]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row.name)
    return Executors(cpu_isas(), {family: tuple(names) for family, names in families.items() if len(names) > 1})


def examine(seed: int, index: int, machine: Executors, report: Report) -> None:
    """Draw program ``index``, compare oaq with the oracle, and note both in ``report``."""
    sample = draw(seed, index)
    sentences = list(_differences(sample, index, machine, report.counts))
    report.counts["programs"] += 1
    if sentences:
        report.differences.append((index, sentences))


def _differences(sample: Drawn, index: int, machine: Executors, counts: Counter[str]) -> Iterator[str]:
    header, arrays = sample.header, sample.arrays
    inputs = draw_inputs(header, arrays, sample.draws)
    without_law = lawless(header, arrays)
    try:
        program = from_plain(header, arrays)
        proof = analyze(program)
    except AccumulatorOverflow as error:
        yield from _refused(sample, str(error), counts)
        return
    except OaqError as error:
        if without_law:
            counts["refused: sums of Add may be infinite"] += 1
        else:
            yield f"is refused as a program: {error}"
        return
    if without_law:
        yield "is accepted, though the law of an Add gives no integer for some input"
        return
    truth = oracle.run(header, arrays, inputs)
    _count(header, truth, counts)
    yield from _ranges(program, proof, truth, counts)
    yield from _sums(program, proof, truth, counts)
    yield from _executed(sample, (program, proof, truth), (inputs, index), machine, counts)


def _refused(sample: Drawn, message: str, counts: Counter[str]) -> Iterator[str]:
    counts[f"refused: {kind_of(message)}"] += 1
    judgement = judged(sample.header, sample.arrays, message)
    if judgement is None or kind_of(message) == "?":
        yield f"is refused without a place: {message}"
        return
    counts[f"refusal judged: {judgement}"] += 1


def _count(header: Mapping[str, Any], truth: Truth, counts: Counter[str]) -> None:
    counts[f"programs: {header['requantize']}"] += 1
    axes = {tensor["name"]: len(tensor["shape"]) - 1 for tensor in header["tensors"]}
    for node in header["nodes"]:
        counts[f"nodes: {node['op']}"] += 1
        counts[f"nodes over {axes[node['inputs'][0]]} axes: {node['op']}"] += 1
    for name, value in vars(truth.edges).items():
        counts[f"edges: {name}"] += value


def _ranges(program: IntProgram, proof: Proof, truth: Truth, counts: Counter[str]) -> Iterator[str]:
    """Every integer of every tensor lies in its channel's proved range, which lies in the tensor's own."""
    for name, values in truth.tensors.items():
        by_channel = values.reshape(-1, values.shape[-1])
        lo, hi = proof.ranges[name].lo, proof.ranges[name].hi
        least, most = by_channel.min(axis=0), by_channel.max(axis=0)
        counts["channels whose range was compared"] += len(lo)
        counts["range ends reached"] += int((least == lo).sum() + (most == hi).sum())
        if np.any(least < lo) or np.any(most > hi):
            channel = int(np.argmax((least < lo) | (most > hi)))
            yield (
                f"{name}, channel {channel}: holds [{least[channel]}, {most[channel]}], "
                f"proved [{lo[channel]}, {hi[channel]}]"
            )
        declared = program.tensors[name].range
        if int(lo.min()) < declared.lo or int(hi.max()) > declared.hi:
            yield f"{name}: proved range leaves the declared one"


def _sums(program: IntProgram, proof: Proof, truth: Truth, counts: Counter[str]) -> Iterator[str]:
    for name, values in truth.sums.items():
        total = proof.nodes[name].total
        by_output = values.reshape(-1, values.shape[-1])
        least, most = by_output.min(axis=0), by_output.max(axis=0)
        counts["sums compared with proved totals"] += by_output.size
        counts["total ends reached"] += int((least == total.lo).sum() + (most == total.hi).sum())
        if np.any(least < total.lo) or np.any(most > total.hi):
            output = int(np.argmax((least < total.lo) | (most > total.hi)))
            yield (
                f"{name}, output {output}: sums to [{least[output]}, {most[output]}], "
                f"proved [{total.lo[output]}, {total.hi[output]}]"
            )


def _executed(
    sample: Drawn,
    subject: tuple[IntProgram, Proof, Truth],
    inputs_and_index: tuple[Mapping[str, NDArray[np.uint8]], int],
    machine: Executors,
    counts: Counter[str],
) -> Iterator[str]:
    """Plan for one instruction set or one set of forced rows, in turn; check schedules and every output."""
    program, proof, truth = subject
    inputs, index = inputs_and_index
    isas, families = machine.isas, {node.family for node in _families(program, machine)}
    turn, place = divmod(index, GROUP)
    force = random.Random(index)  # not in turns: kinds of programs come in turns too, and some would never meet
    few = {
        row.name for row in native_rows() if row.looks_up and all(_fits(node, program, row) for node in program.nodes)
    }
    rows = tuple(
        force.choice([row for row in family_rows if row in few] or family_rows)
        for family, family_rows in machine.rows.items()
        if family in families
    )
    isa = None if rows and place else isas[turn % len(isas)]
    threads = 2 if index % THREADED == 0 else 1
    executor_name = isa or " + ".join(rows)
    forced = None if isa else rows
    try:
        planned = plan(program, isa, forced, proof, costs="shipped")
        session = Session(planned, threads)
    except NoKernel as error:
        if _takes_fewer_bits(program, forced or (), str(error)):
            counts["forced rows rightly refused: operands or weights of more bits"] += 1
        else:
            yield from _refused_rows(sample, forced or (), str(error), counts)
        return
    except OaqError as error:
        yield f"{executor_name}: not planned or not opened: {error}"
        return
    for executor in [isa] if isa else rows:
        counts[f"executor: {executor}"] += 1
    results = session.run_integers(tuple(inputs[name] for name in program.inputs))
    yield from _outputs(program, results, truth, executor_name, counts)
    yield from _schedules(sample, planned, truth, executor_name, counts)


def _refused_rows(sample: Drawn, rows: Sequence[str], message: str, counts: Counter[str]) -> Iterator[str]:
    """Only rows that subtract from operands may refuse what is proved of raw ones, and only for 32 bits."""
    node = message.partition(":")[0]
    shifts = [row.shift for row in native_rows() if row.name in rows and row.shift and row.name in message]
    if not shifts or "a 32-bit sum can reach" not in message:
        yield f"{' + '.join(rows)}: not planned: {message}"
    elif not all(may_leave(sample.header, sample.arrays, node, shift) for shift in shifts):
        yield f"{' + '.join(rows)}: wrongly refused: {message}"
    else:
        counts["forced rows rightly refused: less 128, a sum can leave 32 bits"] += 1


def _fits(node: Node, program: IntProgram, row: KernelRow) -> bool:
    """Whether a row of few bits takes the declared operands and the weights of a node, if it has weights."""
    weight = getattr(node.op, "weight", None)
    if weight is None:
        return True
    x = program.tensors[node.inputs[0]]
    least, most = min(x.range.lo, x.affine.zero_point), max(x.range.hi, x.affine.zero_point)
    operands_fit = row.x_range.lo <= least and most <= row.x_range.hi
    weights = row.weights(node.op.wrap_bits if isinstance(node.op, Products) else None)
    return operands_fit and weights.lo <= int(weight.min()) and int(weight.max()) <= weights.hi


def _takes_fewer_bits(program: IntProgram, rows: Sequence[str], message: str) -> bool:
    """Whether a row of few bits is refused by a node whose declared operands, or whose weights, are not of so few."""
    named = [row for row in native_rows() if row.looks_up and row.name in rows and f"{row.name}: takes" in message]
    refusing = [node for node in program.nodes if node.name == message.partition(":")[0]]
    return bool(named and refusing) and not _fits(refusing[0], program, named[0])


@dataclass(frozen=True)
class _Family:
    family: str


def _families(program: IntProgram, machine: Executors) -> Iterator[_Family]:
    """Families of the program's nodes that have several rows, without asking oaq which."""
    for node in program.nodes:
        kind = type(node.op).__name__
        if kind == "Conv2d":
            weight, groups = node.op.weight, node.op.groups  # type: ignore[union-attr]
            depthwise = groups > 1 and groups == weight.shape[0] and weight.shape[-1] == 1 and weight.ndim < 5
            yield _Family("depthwise" if depthwise else "gemm")
        elif kind == "Linear":
            yield _Family("gemm")
        elif (name := re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()) in machine.rows:
            yield _Family(name)


def _outputs(
    program: IntProgram, results: Sequence[NDArray[np.uint8]], truth: Truth, executor_name: str, counts: Counter[str]
) -> Iterator[str]:
    for name, result in zip(program.outputs, results, strict=True):
        counts["output integers compared"] += result.size
        wrong = np.argwhere(result != truth.tensors[name])
        if len(wrong):
            at = tuple(int(index) for index in wrong[0])
            law = truth.tensors[name][at]
            yield f"{executor_name}: {name}{list(at)} is {result[at]}, the law says {law} ({len(wrong)} differ)"


def _schedules(sample: Drawn, planned: Plan, truth: Truth, executor_name: str, counts: Counter[str]) -> Iterator[str]:
    for step, node in zip(oracle.steps_of(sample.header, sample.arrays), planned.nodes, strict=True):
        if node.schedule is None or node.folded_bias is None:
            continue
        operands = _heaviest(step, loaded(step, truth.tensors[step.node["inputs"][0]]) - node.row.shift)
        weight = step.arrays["weight"].reshape(len(step.arrays["weight"]), -1)
        plain = _plain(node, modulo(step))
        counts["layers executed in simulated registers"] += 1
        counts["spills simulated"] += len(plain.segments)
        counts["steps split or wide"] += node.schedule.splits
        zero = step.inputs[0]["zero_point"] - node.row.shift
        folded = step.arrays["bias"] - zero * weight.astype(np.int64).sum(axis=1)
        if plain.modulo is not None:
            folded = held_in_32_bits(folded)
            counts["layers whose sums wrap by design"] += 1
        if not np.array_equal(folded, node.folded_bias):
            yield f"{executor_name}, {step.node['name']}: the folded bias is another"
        for sentence in broken_rules(plain, weight, operands, folded):
            yield f"{executor_name}, {step.node['name']} on {node.row.name}: {sentence}"


def _heaviest(step: Step, operands: Ints) -> Ints:
    """A few windows: the first, and machine whose sums go furthest."""
    if len(operands) <= POSITIONS:
        return operands
    weight = step.arrays["weight"].astype(np.int64).reshape(operands.shape[1], -1, operands.shape[2])
    sums = (
        np.matmul(operands.transpose(1, 0, 2), weight.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(len(operands), -1)
    )
    ranked = np.concatenate([np.argsort(sums.min(axis=1))[: POSITIONS // 2], np.argsort(-sums.max(axis=1))])
    rows = list(dict.fromkeys([0, *ranked.tolist()]))[:POSITIONS]
    return operands[rows]


def _plain(node: NodePlan, bits: int | None) -> PlainSchedule:
    assert node.schedule is not None
    model = node.schedule.accumulator
    return PlainSchedule(
        model.bits,
        model.overflow,
        model.group_overflow,
        model.step,
        model.group,
        model.lanes,
        node.schedule.tile_n,
        node.row.family == "depthwise",
        node.schedule.segments,
        node.schedule.packed,
        node.schedule.bounds,
        bits,
    )
