"""Everything that computes a program against one reference, on the same inputs, integer by integer."""

from __future__ import annotations

from oaq.verify.report import Difference, Executor, Report
from oaq.verify.run import verify, verify_file

__all__ = ["Difference", "Executor", "Report", "verify", "verify_file"]
