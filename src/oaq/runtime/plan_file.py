"""A plan for another machine: proved here, written as bytes, run there."""

from __future__ import annotations

from oaq.errors import NoKernel
from oaq.kernels.plan import Plan
from oaq.kernels.table import native_rows
from oaq.runtime.certify import require_safe
from oaq.runtime.memory import plan_memory
from oaq.runtime.plan_bytes import plan_bytes


def proved_bytes(plan: Plan, *, accept_observed: bool = False) -> bytes:
    """``plan`` in the format of ``docs/plan-format.md``, after the independent checker has derived its proof again.

    Unlike ``Session(plan).to_bytes()`` it needs no CPU that runs the plan.

    Args:
        plan: from ``oaq.plan``, for whatever machine.
        accept_observed: write a plan whose sums were only observed to fit, unproved.

    Raises:
        AccumulatorOverflow: the plan is not proved, or its proof does not hold.
        NoKernel: native code has no step for a node.
    """
    arena = plan_memory(plan.program)
    require_safe(plan, arena, accept_observed=accept_observed)
    return plan_bytes(plan, arena)


def require_rows(plan: Plan) -> None:
    """Refuse a plan for another kind of machine, by name, before native code is asked.

    Raises:
        NoKernel: this build has no such row, or there is no native module.
    """
    compiled = {row.name for row in native_rows()}
    foreign = [planned for planned in plan.nodes if planned.row.name not in compiled]
    if not foreign:
        return
    isas = ", ".join(sorted({planned.row.isa for planned in foreign}))
    count, first = f"{len(foreign)} of its {len(plan.nodes)} nodes", foreign[0]
    raise NoKernel(
        f"{plan.program.name}: this machine cannot run a plan for {isas}: {count} take rows that this build does not "
        f"have ({first.node.name}: {first.row.name}). Write it for a machine that has them (oaq plan FILE --target "
        "TARGET --out net.plan), or plan for this one: oaq.plan(program)"
    )
