"""Where a session's time goes, node by node."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.kernels.plan import Plan
from oaq.report.build import kind, macs
from oaq.report.node_time import NodeTime
from oaq.runtime import Session
from oaq.runtime.session import NodeChoices


def profile(
    plan: Plan, x: NDArray[np.float32] | NDArray[np.uint8], threads: int, repeats: int = 10
) -> tuple[NodeTime, ...]:
    """The median time of every node over ``repeats`` runs of ``x``, after two to warm up.

    Args:
        plan: what runs.
        x: one batch, float32 in the caller's layout or uint8 NHWC; times and MACs are of the whole batch.
        threads: of the session.
        repeats: runs counted.
    """
    session = Session(plan, threads)
    seen: dict[str, list[int]] = {one.node.name: [] for one in plan.nodes}
    for index in range(-2, repeats):
        session.run(x)
        for one in session.profile():
            if index >= 0:
                seen[one.node].append(one.nanoseconds)
    choices = {one.node: one for one in session.choices()}
    return tuple(
        NodeTime(
            name=one.node.name,
            kind=kind(one.node.op),
            row=one.row.name,
            microseconds=median(seen[one.node.name]) / 1e3,
            macs=len(x) * macs(one.node.op, plan.program.tensors[one.node.output].shape),
            **_chosen(choices.get(one.node.name)),
        )
        for one in plan.nodes
    )


def _chosen(one: NodeChoices | None) -> dict[str, Any]:
    tiles = one.general + one.as_floats + one.in_words if one is not None else 0
    return {"operands": one.operands, "in_words": one.in_words / tiles} if one is not None and tiles else {}
