"""A dynamic plan is run only after the independent checker has derived every claim of its statements again."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np

from oaq.dynamic.plan import DynamicPlan
from oaq.errors import AccumulatorOverflow
from oaq.runtime.certify import check_claims, check_plan

_CHECKED: weakref.WeakKeyDictionary[DynamicPlan, tuple[str, ...]] = weakref.WeakKeyDictionary()
"""Plans are immutable, so each is checked once."""


def findings_of(plan: DynamicPlan) -> tuple[str, ...]:
    """Every claim that does not hold: of the sums, every weight as executed included, of the totals, of the statements.

    Empty if all do.
    """
    if plan not in _CHECKED:
        claims = [*check_plan(plan.sums).findings]
        for program, proof in plan.totals:
            claims += check_claims(program, proof).findings
        _CHECKED[plan] = (*map(str, claims), *_strangers(plan))
    return _CHECKED[plan]


def require_safe(plan: DynamicPlan) -> None:
    """Let ``plan`` pass, or refuse it.

    Raises:
        AccumulatorOverflow: the checker disagrees with its proof, or the proof is of another layer.
    """
    findings = findings_of(plan)
    if findings:
        raise AccumulatorOverflow(
            f"{plan.layer.name}: {len(findings)} claims of this plan do not hold; it is not run:\n"
            + "\n".join(findings[:5])
        )


def _strangers(plan: DynamicPlan) -> Iterator[str]:
    """Statements that are not about the layer: compared by plain arithmetic, not by what made them."""
    layer = plan.layer
    assert layer.zero_point is not None
    stored, zero = layer.weight.astype(np.int64), layer.zero_point.astype(np.int64)[:, None]
    middle = 128 if layer.weight.dtype == np.uint8 else 0
    if not np.array_equal(plan.node.node.products.rows.astype(np.int64), stored - middle):
        yield f"{layer.name}: plans to multiply other weights than the layer's"
    operand = plan.sums.program.tensors[plan.node.node.inputs[0]]
    if (operand.affine.zero_point, operand.range.lo, operand.range.hi) != (0, 0, 255):
        yield f"{layer.name}: plans for operands of {operand}, not for all of u8"
    least, most = (128, 128) if layer.law == "row_s8" else (0, 255)
    if layer.constant is not None:
        least = most = layer.constant.zero_point
    zeros = {program.tensors[program.inputs[0]].affine.zero_point for program, _ in plan.totals}
    if zeros != {least, most}:
        yield f"{layer.name}: proves totals for the zero points {sorted(zeros)}, not for {least} and {most}"
    for program, _ in plan.totals:
        if not np.array_equal(program.nodes[0].products.rows.astype(np.int64), stored - zero):
            yield f"{layer.name}: proves totals of other weights than the layer's"
