"""From a plan and whatever evidence there is to the values of a report."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from oaq import operators as ops
from oaq.kernels.plan import NodePlan, Plan
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import lane_of
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import weight_bound
from oaq.overflow.proof import NodeProof
from oaq.report import data
from oaq.report.codebooks import codebook_facts
from oaq.report.data import Evidence, Execution, Latency, LayerFacts, ReportData, Verification
from oaq.report.density import density
from oaq.report.environment import environment
from oaq.report.kinds import node_kinds
from oaq.report.node_profile import NodeProfile
from oaq.verify.report import Executor, Report


def build_report(
    plan: Plan,
    evidence: Evidence | None = None,
    *,
    latency: Latency | None = None,
    profile: Sequence[NodeProfile] = (),
    verification: Verification | None = None,
) -> ReportData:
    """Gather a report.

    Args:
        plan: what is proved and planned.
        evidence: what was seen when the network was quantized or run; parts it lacks are left out.
        latency: timings, if any were taken.
        profile: time per node, likewise.
        verification: executors compared with the reference.
    """
    facts = evidence or Evidence()
    return ReportData(
        name=plan.program.name,
        tier=plan.tier,
        assumptions=plan.proof.assumptions,
        isa=plan.isa,
        environment=environment(),
        layers=tuple(_layer(planned, plan, facts) for planned in plan.nodes if planned.schedule is not None),
        average_run=plan.average_run or None,
        budget=facts.budget,
        relative_cost=plan.cost,
        verification=verification,
        agreement=facts.agreement,
        latency=latency,
        profile=tuple(profile),
        seconds=facts.seconds,
        notes=facts.notes,
        codebooks=codebook_facts(plan.program, facts.codebooks),
        neural=facts.neural,
        kinds=node_kinds(plan.program),
    )


def verification(results: Report) -> Verification:
    """The values of a report from what ``verify`` found."""
    return Verification(
        proved=results.proved[0],
        layers=results.proved[1],
        certificate=results.certificate,
        signature=results.signature,
        samples=tuple(results.samples.items()),
        executions=tuple(_execution(executor) for executor in results.executors if not executor.unneeded),
        unsafe=results.unsafe,
    )


def _execution(executor: Executor) -> Execution:
    remarks = [executor.reason, "" if executor.first is None else str(executor.first), *executor.notes]
    return Execution(
        executor.name, executor.ran, executor.compared, executor.mismatches, "; ".join(part for part in remarks if part)
    )


def _layer(planned: NodePlan, plan: Plan, evidence: Evidence) -> LayerFacts:
    op, schedule, proof = planned.node.op, planned.schedule, planned.proof
    if not isinstance(op, ops.Products) or schedule is None or proof is None:
        raise TypeError(f"{planned.node.name}: sums no products")
    x, y = plan.program.tensors[planned.node.inputs[0]], plan.program.tensors[planned.node.output]
    exact = schedule.accumulator.is_exact
    return LayerFacts(
        name=planned.node.name,
        kind=kind(op),
        input_shape=x.shape,
        output_shape=y.shape,
        terms=op.weight[0].size,
        macs=macs(op, y.shape),
        weight=IntRange(int(op.weight.min()), int(op.weight.max())),
        activation=x.range,
        accumulator=planned.row.accumulator or schedule.accumulator,
        row=planned.row.name,
        isa=planned.row.isa,
        bounds=data.Bounds(
            lane=None if exact else schedule.bound,
            total=proof.total.envelope(),
            unspilled=None if exact else unspilled(op, proof, schedule.accumulator),
        ),
        schedule=None if exact else _schedule(planned),
        cost=planned.cost,
        refused=tuple(data.Refusal(refusal.row, refusal.reason) for refusal in planned.refused),
        observed=dict(evidence.observed).get(planned.node.name),
        sqnr_db=dict(evidence.sqnr_db).get(planned.node.name),
        modulo=op.wrap_bits,
        density=density(op, x.range, y.shape, schedule),
    )


def _schedule(planned: NodePlan) -> data.ScheduleFacts | None:
    schedule = planned.schedule
    if schedule is None:
        return None
    runs = schedule.segments[:, 2]
    return data.ScheduleFacts(
        steps=schedule.tiles * schedule.steps - schedule.skipped,
        segments=schedule.spills,
        shortest=int(runs.min()),
        longest=int(runs.max()),
        splits=schedule.splits,
        tiles=schedule.tiles,
    )


def unspilled(op: ops.Products, proof: NodeProof, accumulator: Accumulator) -> IntRange:
    """Hull of every lane of every output if all of K were summed without a spill. Exact integers."""
    weight = op.rows
    lane = lane_of(accumulator, np.arange(weight.shape[1]))
    partial = accumulator.overflow == "saturates"
    hulls = [
        weight_bound(
            weight[:, lane == lane_index],
            proof.operands.lo[:, lane == lane_index],
            proof.operands.hi[:, lane == lane_index],
            partial=partial,
        ).envelope()
        for lane_index in np.unique(lane)
    ]
    return IntRange(min(hull.lo for hull in hulls), max(hull.hi for hull in hulls))


def kind(op: ops.Op) -> str:
    """An operator for people.

    >>> kind(ops.MaxPool((2, 2), (2, 2)))
    'MaxPool'
    """
    if not isinstance(op, ops.Products):
        return type(op).__name__
    if (window := op.window) is None:
        return type(op).__name__.lower()
    text = f"{'depthwise' if op.is_depthwise() else 'conv'} " + "\u00d7".join(map(str, window.kernel))
    if max(window.stride) > 1:
        text += f" /{window.stride[0]}" if len(set(window.stride)) == 1 else f" /{','.join(map(str, window.stride))}"
    if max(window.dilation) > 1:
        text += f", dilation {','.join(map(str, window.dilation))}"
    return text if op.channel_groups == 1 or op.is_depthwise() else f"{text}, {op.channel_groups} groups"


def macs(op: ops.Op, output: tuple[int, ...]) -> int:
    """Multiply-accumulates of one sample; 0 for operators without products."""
    if not isinstance(op, ops.Products):
        return 0
    return prod(output) * op.terms
