"""Which native kernel computes each node, and why: the table of rows, their costs, the plan."""

from __future__ import annotations

from oaq.kernels.cost import LayerCost, predict_layer_cost
from oaq.kernels.plan import NodePlan, Plan, Refusal, plan
from oaq.kernels.table import KernelRow, cpu_isas, native_rows, rows_for

__all__ = [
    "KernelRow",
    "LayerCost",
    "NodePlan",
    "Plan",
    "Refusal",
    "cpu_isas",
    "native_rows",
    "plan",
    "predict_layer_cost",
    "rows_for",
]
