"""Dynamic layers: int8 weights times operands that are quantized as they come, proved for every input without data.

The operands of such a layer cover all of u8 (or of s8 without its lowest value) whatever their scale is, so what is
proved of its sums holds for every input. Importing this package loads numpy and nothing heavier.
"""

from __future__ import annotations

from oaq.dynamic.law import LAWS, Law, QuantizedRows, quantize_rows
from oaq.dynamic.layer import DynamicLayer
from oaq.dynamic.plan import DynamicPlan, plan_layer
from oaq.dynamic.reference import run_reference
from oaq.dynamic.session import DynamicSession

__all__ = [
    "LAWS",
    "DynamicLayer",
    "DynamicPlan",
    "DynamicSession",
    "Law",
    "QuantizedRows",
    "plan_layer",
    "quantize_rows",
    "run_reference",
]
