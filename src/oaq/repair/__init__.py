"""The smallest change of a quantized file after which its sums are proved to fit another CPU's registers.

``balance`` makes float files ready for dynamic int8 before that.
"""

from __future__ import annotations

from oaq.repair.balance import Balanced, balance, balance_with_report
from oaq.repair.repair import repair
from oaq.repair.repaired import LayerRepair, Repaired

__all__ = ["Balanced", "LayerRepair", "Repaired", "balance", "balance_with_report", "repair"]
