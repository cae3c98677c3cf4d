"""The native kernels as executors: every instruction set, every row forced, one thread and several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oaq.errors import AccumulatorOverflow, MemoryLimit, NoKernel
from oaq.kernels.cost import suits
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow, isas_of
from oaq.operators import family_of
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from oaq.runtime.certify import check_plan
from oaq.seal.inputs import Inputs
from oaq.verify.compare import Comparison, Tensors, all_tensors, compare, in_parts
from oaq.verify.report import Executor, derived_again
from oaq.verify.witnesses import run_witnesses

SAMPLES_AT_ONCE = 8
"""Bounds the memory that comparing every tensor takes."""


@dataclass(frozen=True, eq=False)
class Workload:
    """One program, inputs for it, and what the reference makes of them.

    Attributes:
        program: what is verified.
        proof: of it.
        inputs: one array (batch, ...) per input.
        expected: every tensor, by the reference.
        witnesses: also drive every sum to its bounds.
    """

    program: IntProgram
    proof: Proof
    inputs: Inputs
    expected: Tensors
    witnesses: bool = True


@dataclass(frozen=True, eq=False)
class Attempt:
    """An executor, and what else became known by trying it.

    Attributes:
        executor: what is reported.
        witnesses: layer inputs that drove a sum to its bound.
        unsafe: why the plan must not be run; empty if it may.
        checked: what the independent checker derived again; empty if it was not asked.
    """

    executor: Executor
    witnesses: int = 0
    unsafe: str = ""
    checked: str = ""


def isa_attempts(
    workload: Workload, isas: Sequence[str], threads: Sequence[int], table: Sequence[KernelRow]
) -> list[Attempt]:
    """The plan for each instruction set, as it would run, outputs compared; on a difference, every node."""
    supported = isas_of(table)
    attempts = [
        Attempt(Executor(f"isa {isa}", False, f"there are kernels for {', '.join(supported)}"))
        for isa in isas
        if isa not in supported
    ]
    for isa in supported:
        for count in threads:
            name = f"isa {isa}, {count} thread{'s' if count > 1 else ''}"
            if isa not in isas:
                reason = "this CPU lacks it" if not _available(isa, table) else "left out by the caller"
                attempts.append(Attempt(Executor(name, False, reason)))
                continue
            attempts.append(
                _attempt(name, workload, lambda isa=isa: plan(workload.program, isa, proof=workload.proof), count)
            )
    return attempts


def row_attempts(workload: Workload, table: Sequence[KernelRow]) -> list[Attempt]:
    """Each row forced on every node of its family; every integer of every node is compared."""
    all_outputs = all_tensors(workload.program)
    tapped = Workload(all_outputs, workload.proof, workload.inputs, workload.expected, workload.witnesses)
    families = {family_of(node.op) for node in workload.program.nodes}
    attempts: list[Attempt] = []
    available = [row for row in table if row.available]
    for row in table:
        name = f"row {row.name}"
        if row.family not in families:
            attempts.append(Attempt(Executor(name, False, f"the program has no {row.family} node", unneeded=True)))
        elif not _suits_any(workload, row):
            reason = f"no layer has operands within {row.x_range} and weights within {row.w_range}"
            attempts.append(Attempt(Executor(name, False, reason, unneeded=True)))
        elif not row.available:
            attempts.append(Attempt(Executor(name, False, f"needs {row.isa}, which this CPU lacks")))
        else:
            attempts.append(_attempt(name, tapped, lambda row=row: _forced(tapped, row, available), 1))
    return attempts


def _suits_any(workload: Workload, row: KernelRow) -> bool:
    """True iff the operands and weights of a layer have as few bits as ``row`` asks for; most rows ask for nothing."""
    if not row.looks_up:
        return True
    layers = [node for node in workload.program.summing_nodes() if family_of(node.op) == row.family]
    bounds = {node.name: workload.proof[node.name].operands for node in layers}
    return any(
        suits(row, node.products.rows, (bounds[node.name].lo, bounds[node.name].hi), node.products.wrap_bits)
        for node in layers
    )


def _forced(workload: Workload, row: KernelRow, available: Sequence[KernelRow]) -> Plan:
    """A plan by one row. It is given its table, so that OAQ_ISA, which is about plans, hides no row that can run.

    A row for few bits computes the layers it suits, scalar rows the others.
    """
    scalar = [entry for entry in available if entry.family == row.family and entry.isa == "scalar"]
    rows = [row.name, *(entry.name for entry in scalar if row.looks_up and not entry.shift)]
    return plan(workload.program, rows=rows, proof=workload.proof, table=available)


def _available(isa: str, table: Sequence[KernelRow]) -> bool:
    return any(row.isa == isa and row.available for row in table)


def _attempt(name: str, workload: Workload, make: Callable[[], Plan], threads: int) -> Attempt:
    try:
        planned = make()
    except (NoKernel, AccumulatorOverflow) as error:  # no plan can hold it, so none can be run by mistake
        return Attempt(Executor(name, False, str(error).splitlines()[0]))
    verdict = check_plan(planned)
    if not verdict.safe:
        reason = f"{name}: the independent checker refuses the plan: {verdict.findings[0]}"
        return Attempt(Executor(name, False, "its proof does not hold"), unsafe=reason)
    try:
        session = Session(planned, threads)
    except MemoryLimit as error:
        return Attempt(Executor(name, False, str(error).splitlines()[0], failed=True))
    result = _outputs(session, workload)
    if result.mismatches and set(workload.program.outputs) != set(all_tensors(workload.program).outputs):
        result = Comparison(
            result.compared, result.mismatches, _locate(workload, planned, threads).first or result.first
        )
    count = 0
    if workload.witnesses:
        count, driven = run_witnesses(planned, workload.proof, threads)
        result = result.plus(driven)
    return Attempt(
        Executor(name, True, "", result.compared, result.mismatches, result.first),
        count,
        checked=derived_again(verdict),
    )


def _outputs(session: Session, workload: Workload) -> Comparison:
    result = Comparison()
    for start, part in in_parts(workload.inputs, SAMPLES_AT_ONCE):
        actual = dict(zip(session.plan.program.outputs, session.run_integers(part), strict=True))
        expected = {tensor: workload.expected[tensor][start : start + len(part[0])] for tensor in actual}
        result = result.plus(compare(workload.program, expected, actual, start))
    return result


def _locate(workload: Workload, planned: Plan, threads: int) -> Comparison:
    """Run the same rows once more with every tensor as an output, to find the first node that differs."""
    all_outputs = all_tensors(workload.program)
    tapped = Plan(all_outputs, planned.proof, planned.nodes, planned.isa, planned.tier)
    return _outputs(Session(tapped, threads), Workload(all_outputs, workload.proof, workload.inputs, workload.expected))
