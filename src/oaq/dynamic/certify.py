"""A dynamic plan is run only after the independent checker has derived every claim of its statements again."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np

from oaq.checker import Finding, Verdict, check
from oaq.dynamic.plan import DynamicPlan
from oaq.errors import AccumulatorOverflow
from oaq.overflow.certificate import certify, to_parts
from oaq.program.plain import to_plain
from oaq.runtime.certify import check_plan

_VERDICTS: weakref.WeakKeyDictionary[DynamicPlan, Verdict] = weakref.WeakKeyDictionary()
"""Plans are immutable, so each is checked once."""


def check_dynamic(plan: DynamicPlan) -> Verdict:
    """What the checker says of the sums, every weight as executed included, and of the totals."""
    if plan not in _VERDICTS:
        verdict = check_plan(plan.sums)
        findings = [*verdict.findings, *_strangers(plan)]
        for program, proof in plan.totals:
            content, claims = to_parts(certify(program, proof))
            header, arrays = to_plain(program)
            findings += check(header, arrays, content, claims).findings
        _VERDICTS[plan] = replace(verdict, findings=tuple(findings))
    return _VERDICTS[plan]


def require_safe(plan: DynamicPlan) -> Verdict:
    """Let ``plan`` pass, or refuse it.

    Raises:
        AccumulatorOverflow: the checker disagrees with its proof.
    """
    verdict = check_dynamic(plan)
    if not verdict.safe:
        findings = "\n".join(str(finding) for finding in verdict.findings[:5])
        raise AccumulatorOverflow(
            f"{plan.layer.name}: the independent checker finds {len(verdict.findings)} claims of this plan that do not "
            f"hold; it is not run:\n{findings}"
        )
    return verdict


def _strangers(plan: DynamicPlan) -> list[Finding]:
    """Statements that are not about the layer: compared by plain arithmetic, not by what made them."""
    layer, name = plan.layer, plan.layer.name
    assert layer.zero_point is not None
    stored, zero = layer.weight.astype(np.int64), layer.zero_point.astype(np.int64)[:, None]
    middle = 128 if layer.weight.dtype == np.uint8 else 0
    findings = []
    if not np.array_equal(plan.node.node.products.rows.astype(np.int64), stored - middle):
        findings.append(Finding(name, "plans to multiply other weights than the layer's"))
    zeros = {program.tensors[program.inputs[0]].affine.zero_point for program, _ in plan.totals}
    least, most = {"row_s8": (128, 128)}.get(layer.law, (0, 255))
    if layer.constant is not None:
        least = most = layer.constant.zero_point
    if zeros != {least, most}:
        findings.append(Finding(name, f"proves totals for the zero points {sorted(zeros)}, not for {least} and {most}"))
    for program, _ in plan.totals:
        if not np.array_equal(program.nodes[0].products.rows.astype(np.int64), stored - zero):
            findings.append(Finding(name, "proves totals of other weights than the layer's"))
    return findings
