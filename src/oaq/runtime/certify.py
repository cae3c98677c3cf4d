"""A plan is run only after the independent checker has derived every claim of its proof again."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from oaq.checker import Verdict, check, check_execution
from oaq.errors import AccumulatorOverflow
from oaq.kernels.plan import Plan
from oaq.overflow.certificate import Certificate, certify, register_model, to_parts
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.runtime.memory import Arena, plan_memory

_VERDICTS: weakref.WeakKeyDictionary[Plan, tuple[Arena, Verdict]] = weakref.WeakKeyDictionary()
"""Plans are immutable, so each is checked once however many sessions it gets."""


def certificate_of(plan: Plan) -> Certificate:
    """The claims of ``plan``, every weight as executed included."""
    schedules = {
        node_plan.node.name: (node_plan.schedule,) for node_plan in plan.nodes if node_plan.schedule is not None
    }
    return certify(plan.program, plan.proof, schedules, packed=True)


def execution_of(plan: Plan, arena: Arena, nodes: Sequence[Any] | None = None) -> dict[str, Any]:
    """What kernels are handed beside weights, as plain data; see ``checker.check_execution``.

    Args:
        plan: whose nodes run.
        arena: where its tensors will lie.
        nodes: the plan's own, in plain form, if they are there already.
    """
    plain_nodes: Sequence[Any] = to_plain(_executed(plan))[0]["nodes"] if nodes is None else nodes
    return {
        "nodes": [
            {
                "node": plain,
                "x_zero_points": list(planned.x_zero_points),
                "y_zero_point": planned.y_zero_point,
                "clamp": [planned.clamp.lo, planned.clamp.hi],
                "shift": planned.row.shift,
                "folded_bias": planned.folded_bias,
            }
            for plain, planned in zip(plain_nodes, plan.nodes, strict=True)
        ],
        "arena": {"size": arena.size, "offsets": dict(arena.offsets), "in_place": sorted(arena.in_place)},
    }


def _executed(plan: Plan) -> IntProgram:
    """The program of the plan's own nodes: the same object unless they are others."""
    nodes = tuple(planned.node for planned in plan.nodes)
    return plan.program if nodes == plan.program.nodes else replace(plan.program, nodes=nodes)


def check_plan(plan: Plan, arena: Arena | None = None) -> Verdict:
    """What the checker says of ``plan``; register models are those of the rows that will run.

    Args:
        plan: with tier "proved".
        arena: where its tensors will lie; None is where ``plan_memory`` lays them.

    Raises:
        ProgramError: the plan's nodes are not those of a program.
    """
    arena = arena if arena is not None else plan_memory(plan.program)
    if plan not in _VERDICTS or _VERDICTS[plan][0] != arena:
        registers = {
            node_plan.row.accumulator.name: register_model(node_plan.row.accumulator)
            for node_plan in plan.nodes
            if node_plan.row.accumulator is not None
        }
        content, claims = to_parts(certificate_of(plan))
        header, arrays = to_plain(plan.program)
        verdict = check(header, arrays, content, claims, registers=registers)
        executed = _executed(plan)
        run_header, run_arrays = (header, arrays) if executed is plan.program else to_plain(executed)
        differences = check_execution(header, arrays, execution_of(plan, arena, run_header["nodes"]), run_arrays)
        _VERDICTS[plan] = arena, replace(verdict, findings=verdict.findings + differences)
    return _VERDICTS[plan][1]


def check_claims(program: IntProgram, proof: Proof) -> Verdict:
    """What the checker says of a proof alone: ranges and sums, no schedule."""
    content, claims = to_parts(certify(program, proof))
    return check(*to_plain(program), content, claims)


def require_safe(plan: Plan, arena: Arena | None = None, *, accept_observed: bool = False) -> Verdict | None:
    """Let ``plan`` pass, or refuse it.

    Args:
        plan: to be run.
        arena: where its tensors will lie; None is where ``plan_memory`` lays them.
        accept_observed: let a plan pass whose sums were only observed to fit, unproved.

    Returns:
        the verdict; None for an observed plan, which there is nothing to check about.

    Raises:
        AccumulatorOverflow: the plan is not proved, or the checker disagrees with its proof.
    """
    if plan.tier != "proved":
        if accept_observed:
            return None
        raise AccumulatorOverflow(
            f"{plan.program.name}: this plan's sums were {plan.tier} to fit, not proved: some input may overflow. "
            "Plan it again for a proof, or ask for it by name: Session(plan, accept_observed=True)"
        )
    verdict = check_plan(plan, arena)
    if not verdict.safe:
        findings = "\n".join(str(finding) for finding in verdict.findings[:5])
        raise AccumulatorOverflow(
            f"{plan.program.name}: the independent checker finds {len(verdict.findings)} claims of this plan "
            f"that do not hold; it is not run:\n{findings}"
        )
    return verdict
