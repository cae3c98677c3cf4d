"""Instruction sets that a verification runs."""

from __future__ import annotations

from collections.abc import Sequence

from oaq.errors import NoKernel
from oaq.kernels.table import cpu_isas


def isas_to_run(isas: Sequence[str] | None) -> Sequence[str]:
    """``isas``, or all that this CPU has, ascending; none where the native module is not built."""
    if isas is not None:
        return isas
    try:
        return cpu_isas()
    except NoKernel:
        return ()
