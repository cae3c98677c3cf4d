"""Proofs on exact integers: how far every sum can go, where to spill, and the input that reaches each bound."""

from __future__ import annotations

from oaq.overflow.analyze import analyze
from oaq.overflow.bounds import weight_bound
from oaq.overflow.certificate import Certificate, certify, from_parts, to_parts
from oaq.overflow.count import Count, count_overflows
from oaq.overflow.operands import Operands, operands_as_loaded
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.settle import Settled, settle
from oaq.overflow.spill import RunCount, Schedule, count_runs, schedule
from oaq.overflow.witness import Witness, witness

__all__ = [
    "Certificate",
    "Count",
    "NodeProof",
    "Operands",
    "Proof",
    "RunCount",
    "Schedule",
    "Settled",
    "Witness",
    "analyze",
    "certify",
    "count_overflows",
    "count_runs",
    "from_parts",
    "operands_as_loaded",
    "schedule",
    "settle",
    "to_parts",
    "weight_bound",
    "witness",
]
