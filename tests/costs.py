"""Costs of a made-up CPU, in round numbers: tests of budgets must not change with every calibration."""

from __future__ import annotations

from pathlib import Path

from oaq.kernels.cost import CostTable
from oaq.kernels.cost_files import save_costs
from oaq.kernels.facts import facts_of
from oaq.operators import OPERATORS
from tests.kernels.tables import TABLE

FAMILIES = {rules.family for rules in OPERATORS.values() if isinstance(rules.family, str)} - {"gemm"}
"""Kernel families without products."""
PICO = 1e-12


def _pico(**costs: float) -> dict[str, float]:
    return {kind: cost * PICO for kind, cost in costs.items()}


MADE_UP = CostTable(
    "made up",
    1 << 20,
    {
        "gemm_u8s8_avx2_acc16": _pico(
            steps=110, turns=350, spills=220, starts=400, outputs=1000, words=800, weights=10, call=2e5
        ),
        "gemm_u8s8_avx2_acc32": _pico(
            steps=210, turns=300, spills=80, starts=700, outputs=900, words=750, weights=10, call=2e5
        ),
        "gemm_u8s8_avx2_exact": _pico(steps=340, turns=300, starts=7000, outputs=100, words=80, weights=10, call=2e5),
        "depthwise_u8s8_avx2_acc16": _pico(
            steps=950, spills=1100, outputs=800, words=300, lines=15000, weights=400, call=1e5
        ),
        "depthwise_u8s8_avx2_exact": _pico(steps=1500, outputs=1100, words=700, lines=14000, weights=400, call=1e5),
        "gemm_u8s8_scalar": _pico(steps=11000, outputs=20000, words=20000, call=3e5),
        "depthwise_u8s8_scalar": _pico(steps=8000, outputs=13000, words=13000, lines=20000, call=4e5),
        "add_u8_avx2": _pico(reads=180, call=5e4),
        **{f"{family}_u8_scalar": _pico(values=600, places=2000, call=1e5) for family in FAMILIES},
    },
    {},
    facts={row.name: facts_of(row) for row in TABLE},
)


def write(folder: Path) -> Path:
    """As a file for ``OAQ_COSTS``."""
    path = folder / "made-up-costs.json"
    save_costs(MADE_UP, path)
    return path
