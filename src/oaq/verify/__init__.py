"""Everything that computes a program against one reference, on the same inputs, integer by integer."""

from __future__ import annotations

from oaq.verify.report import Difference, Executor, Report
from oaq.verify.run import verify, verify_file
from oaq.verify.seal import save, sealed_parts
from oaq.verify.signature import model_signature, signature_part

__all__ = [
    "Difference",
    "Executor",
    "Report",
    "model_signature",
    "save",
    "sealed_parts",
    "signature_part",
    "verify",
    "verify_file",
]
