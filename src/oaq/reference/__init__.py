"""The law: every operator on exact integers in NumPy, and a bit-true model of the registers kernels sum in.

Slow and obvious on purpose, never optimised for its own sake, never a fallback: executors are compared with it.
"""

from __future__ import annotations

from oaq.reference.packing import lanes, packed_operands, packed_weights
from oaq.reference.register import Simulation, simulate
from oaq.reference.run import Run, compute, run
from oaq.reference.three_sums import compute_three, run_exact

__all__ = [
    "Run",
    "Simulation",
    "compute",
    "compute_three",
    "lanes",
    "packed_operands",
    "packed_weights",
    "run",
    "run_exact",
    "simulate",
]
