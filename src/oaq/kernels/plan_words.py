"""A planned node in words and as plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oaq.numerics.accumulator import modulo_of
from oaq.numerics.ranges import IntRange

if TYPE_CHECKING:
    from oaq.kernels.plan import NodePlan
    from oaq.kernels.table import KernelRow
    from oaq.overflow.spill import RunCount


BY_DESIGN = "wraps by design"
"""What is said of sums that count modulo 2**b, wherever others are said not to overflow."""


def show_interval(interval: IntRange) -> str:
    """``[lo, hi]``."""
    return f"[{interval.lo}, {interval.hi}]"


def sums_in_words(planned: NodePlan) -> str:
    """How many tiles, steps, spills and splits; "" for a node without sums of products."""
    if planned.schedule is None:
        return ""
    schedule = planned.schedule
    text = f"{schedule.tiles} tiles x {schedule.steps} steps, {schedule.spills} spills"
    text += f", average run {schedule.average_run:.1f}"
    if schedule.skipped:
        text += f", {schedule.skipped} steps of zeros left out"
    if schedule.splits:
        text += f", {schedule.splits} steps split or wide"
    text += f", lanes {show_interval(schedule.bound)}"
    modulo = modulo_of(schedule.accumulator)
    return text if modulo is None else f"{text}, {BY_DESIGN}, exact modulo 2^{modulo}"


def node_json(planned: NodePlan) -> dict[str, Any]:
    """Plain numbers for reports."""
    result: dict[str, Any] = {
        "node": planned.node.name,
        "op": type(planned.node.op).__name__,
        "row": planned.row.name,
        "isa": planned.row.isa,
        "predicted_seconds": planned.cost,
        "refused": [{"row": refusal.row, "reason": refusal.reason} for refusal in planned.refused],
    }
    if planned.schedule is not None and planned.proof is not None:
        schedule = planned.schedule
        result |= {
            "register": {"bits": schedule.accumulator.bits, "overflow": schedule.accumulator.overflow},
            "tile_n": schedule.tile_n,
            "tiles": schedule.tiles,
            "steps": schedule.steps,
            "spills": schedule.spills,
            "splits": schedule.splits,
            "skipped": schedule.skipped,
            "average_run": schedule.average_run,
            "lane_bound": [schedule.bound.lo, schedule.bound.hi],
            "group_bound": [schedule.group_bound.lo, schedule.group_bound.hi],
            "relative_cost": planned.cost / planned.cost_without_spills,
            "sum": planned.proof.to_json(),
        }
        if planned.proof.modulo is not None:
            result["promise"] = f"exact modulo 2^{planned.proof.modulo}, {BY_DESIGN}"
    return result


def expense_in_words(row: KernelRow, runs: RunCount) -> str:
    """Why a row that is proved costs what it does."""
    step = row.accumulator.step if row.accumulator is not None else 1
    unit = f"steps of {step}" if row.looks_up else {4: "k-quads", 2: "tap pairs"}.get(step, f"steps of {step}")
    text = f"proved runs average {runs.average_run:.1f} {unit}"
    return (
        f"{text}, {runs.reissued} steps more than the {runs.distinct} there are (split or wide)"
        if runs.reissued
        else text
    )


def refusal_in_words(reason: str, cost: float | None, least_cost: float) -> str:
    """Why a row was not taken: what it costs beside the chosen one, where it is proved."""
    return reason if cost is None else f"{reason}: predicted {cost / least_cost:.2f} times the cost of the chosen row"
