"""Proofs on exact integers: how far every sum can go, where to spill, and the input that reaches each bound."""

from __future__ import annotations

from oaq.overflow.analyze import analyze
from oaq.overflow.bounds import weight_bound
from oaq.overflow.operands import Operands, operands_as_loaded
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.spill import RunCount, Schedule, count_runs, schedule

__all__ = [
    "NodeProof",
    "Operands",
    "Proof",
    "RunCount",
    "Schedule",
    "analyze",
    "count_runs",
    "operands_as_loaded",
    "schedule",
    "weight_bound",
]
