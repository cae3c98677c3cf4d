"""A plan is run only after the independent checker has derived every claim of its proof again."""

from __future__ import annotations

import weakref

from oaq.checker import Verdict, check
from oaq.errors import AccumulatorOverflow
from oaq.kernels.plan import Plan
from oaq.overflow.certificate import Certificate, certify, register_model, to_parts
from oaq.program.plain import to_plain

_VERDICTS: weakref.WeakKeyDictionary[Plan, Verdict] = weakref.WeakKeyDictionary()
"""Plans are immutable, so each is checked once however many sessions it gets."""


def certificate_of(plan: Plan) -> Certificate:
    """The claims of ``plan``, every weight as executed included."""
    schedules = {one.node.name: (one.schedule,) for one in plan.nodes if one.schedule is not None}
    return certify(plan.program, plan.proof, schedules, packed=True)


def check_plan(plan: Plan) -> Verdict:
    """What the checker says of ``plan``; register models are those of the rows that will run.

    Args:
        plan: with tier "proved".
    """
    if plan not in _VERDICTS:
        registers = {
            one.row.accumulator.name: register_model(one.row.accumulator)
            for one in plan.nodes
            if one.row.accumulator is not None
        }
        content, claims = to_parts(certificate_of(plan))
        _VERDICTS[plan] = check(*to_plain(plan.program), content, claims, registers=registers)
    return _VERDICTS[plan]


def require_safe(plan: Plan, *, accept_observed: bool = False) -> Verdict | None:
    """Let ``plan`` pass, or refuse it.

    Args:
        plan: to be run.
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
    verdict = check_plan(plan)
    if not verdict.safe:
        found = "\n".join(str(finding) for finding in verdict.findings[:5])
        raise AccumulatorOverflow(
            f"{plan.program.name}: the independent checker finds {len(verdict.findings)} claims of this plan "
            f"that do not hold; it is not run:\n{found}"
        )
    return verdict
