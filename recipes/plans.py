"""The plans of a network that are worth timing side by side on this machine."""

from __future__ import annotations

from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import cpu_isas
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram


def plans_here(program: IntProgram, proof: Proof | None = None) -> dict[str, Plan]:
    """A plan per instruction set of this CPU that has a row for the network, as ``oaq ISA``; scalar code left out."""
    plans = {isa: plan(program, isa, proof=proof) for isa in cpu_isas() if isa != "scalar"}
    return {
        f"oaq {isa}": planned for isa, planned in plans.items() if any(node.row.isa == isa for node in planned.nodes)
    }
