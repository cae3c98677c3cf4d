"""An independent checker of proofs: it shares no code with what made them.

It reads a program and a certificate as plain data (JSON headers and arrays), derives every range, sum and segment again
in its own way, and says what does not hold. It imports numpy, the standard library and ``oaq.errors`` only.
"""

from __future__ import annotations

from oaq.checker.check import check
from oaq.checker.execution import check_execution
from oaq.checker.verdict import Finding, Verdict

__all__ = ["Finding", "Verdict", "check", "check_execution"]
