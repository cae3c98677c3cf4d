"""Where a session's time goes, node by node."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.kernels.plan import Plan
from oaq.report.build import kind, macs
from oaq.report.node_profile import NodeProfile
from oaq.runtime import Session
from oaq.runtime.session import NodeChoices


def profile(
    plan: Plan, x: NDArray[np.float32] | NDArray[np.uint8], threads: int, repeats: int = 10
) -> tuple[NodeProfile, ...]:
    """The median time of every node over ``repeats`` runs of ``x``, after two to warm up.

    Args:
        plan: what runs.
        x: one batch, float32 in the caller's layout or uint8 NHWC; times and MACs are of the whole batch.
        threads: of the session.
        repeats: runs counted.
    """
    session = Session(plan, threads)
    nanoseconds: dict[str, list[int]] = {planned.node.name: [] for planned in plan.nodes}
    for index in range(-2, repeats):
        session.run(x)
        for node_time in session.profile():
            if index >= 0:
                nanoseconds[node_time.node].append(node_time.nanoseconds)
    choices = {choice.node: choice for choice in session.choices()}
    return tuple(
        NodeProfile(
            name=planned.node.name,
            kind=kind(planned.node.op),
            row=planned.row.name,
            microseconds=median(nanoseconds[planned.node.name]) / 1e3,
            macs=len(x) * macs(planned.node.op, plan.program.tensors[planned.node.output].shape),
            **_choice_fields(choices.get(planned.node.name)),
        )
        for planned in plan.nodes
    )


def edge_times(
    plan: Plan, x: NDArray[np.float32] | NDArray[np.uint8], threads: int, repeats: int = 10
) -> tuple[float, float]:
    """Median microseconds that a run of ``x`` spends on making integers of its inputs, and values of its outputs.

    Args:
        plan: what runs.
        x: one batch as the caller has it.
        threads: of the session.
        repeats: runs counted.
    """
    session = Session(plan, threads)
    times = []
    for _ in range(repeats):
        session.run(x)
        times.append(session.edge_times())
    entry, result = (median(time[at] for time in times) / 1e3 for at in (0, 1))
    return entry, result


def _choice_fields(choices: NodeChoices | None) -> dict[str, Any]:
    tiles = choices.general + choices.as_floats + choices.in_words if choices is not None else 0
    return {"operands": choices.operands, "in_words": choices.in_words / tiles} if choices is not None and tiles else {}
