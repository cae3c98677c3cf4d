"""Where a network's time goes, node by node: measured, beside what its kernel could do and what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oaq.kernels.cost import limit
from oaq.kernels.plan import NodePlan, Plan
from oaq.report.node_profile import NodeProfile
from oaq.terminal.table import Table

COLUMNS = (
    ("node", "its name"),
    ("operator", "what it computes"),
    ("kernel row", "what computes it"),
    ("us", "measured: microseconds per run, median"),
    ("%", "its share of the run"),
    ("predicted", "microseconds that the cost table says, for one thread"),
    ("GMAC/s", "measured: billions of products per second"),
    (
        "limit",
        "the same as percent of this row's limit: products per second that the cost table gives its inner loop alone,\n"
        "              in the long run, with no spill, no epilogue and nothing to wait for",
    ),
    (
        "spills",
        "how often the sum of one output leaves its narrow lanes; - for a row that has none, or spills at every step",
    ),
    ("run", "steps between two spills, on average"),
    ("operands", "where sums find them: direct or in lines of the input, or gathered, a copy for every position"),
    ("16 bits", "percent of tiles whose results leave in 16 bits, which is quicker; the integers are the same"),
)
"""Title and meaning of every column."""


@dataclass(frozen=True)
class Explained:
    """One node.

    Attributes:
        name: of the node.
        kind: operator.
        row: kernel row.
        microseconds: measured, per run.
        share: of the run, 0 to 1.
        predicted: microseconds of one run on one thread; None for a plan made without costs.
        gmacs: measured, 1e9 multiply-accumulates per second; None without products.
        of_limit: ``gmacs`` over what the row's inner loop alone would do on the threads that ran; None likewise.
        spills: per output; None for a row that never spills or always does.
        run: average steps between spills; None likewise.
        operands: where they are found; empty without products.
        in_words: part of the tiles whose results leave in 16 bits; None without products.
    """

    name: str
    kind: str
    row: str
    microseconds: float
    share: float
    predicted: float | None
    gmacs: float | None
    of_limit: float | None
    spills: float | None
    run: float | None
    operands: str
    in_words: float | None


def explain(plan: Plan, times: Sequence[NodeProfile], batch: int, threads: int) -> tuple[Explained, ...]:
    """Put the times of a session beside its plan.

    Args:
        plan: that ran.
        times: of its nodes, in order, per run of the whole batch.
        batch: samples per run.
        threads: of the session.
    """
    total = sum(node_time.microseconds for node_time in times) or 1.0
    return tuple(
        _explained(plan, planned, node_time, (total, batch, threads))
        for planned, node_time in zip(plan.nodes, times, strict=True)
    )


def _explained(plan: Plan, planned: NodePlan, node_time: NodeProfile, run: tuple[float, int, int]) -> Explained:
    total, batch, threads = run
    gmacs = node_time.macs / node_time.microseconds / 1e3 if node_time.macs and node_time.microseconds else None
    most = limit(plan.costs, planned.row) if plan.costs is not None else None
    schedule = planned.schedule
    spills = schedule is not None and not schedule.accumulator.is_exact and schedule.accumulator.max_run != 1
    return Explained(
        node_time.name,
        node_time.kind,
        node_time.row,
        node_time.microseconds,
        node_time.microseconds / total,
        planned.cost * batch * 1e6 if plan.costs is not None else None,
        gmacs,
        gmacs * 1e9 / (most * threads) if gmacs is not None and most else None,
        schedule.spills / schedule.tiles if spills and schedule is not None else None,
        schedule.average_run if spills and schedule is not None else None,
        node_time.operands,
        node_time.in_words,
    )


def explained_table(name: str, nodes: Sequence[Explained]) -> Table:
    """One line per node, and one for all."""
    rows = [
        (
            node.name,
            node.kind.replace("\u00d7", "x"),
            node.row,
            f"{node.microseconds:.1f}",
            f"{100 * node.share:.1f}",
            _text(node.predicted, 1),
            _text(node.gmacs, 1),
            "-" if node.of_limit is None else f"{100 * node.of_limit:.0f} %",
            _text(node.spills, 1),
            _text(node.run, 1),
            node.operands or "-",
            "-" if node.in_words is None else f"{100 * node.in_words:.0f} %",
        )
        for node in nodes
    ]
    total = sum(node.microseconds for node in nodes)
    predictions = [node.predicted for node in nodes if node.predicted is not None]
    rows.append(
        (
            "all",
            "",
            "",
            f"{total:.1f}",
            "100.0",
            f"{sum(predictions):.1f}" if predictions else "-",
            "",
            "",
            "",
            "",
            "",
            "",
        )
    )
    return Table(
        f"{name}, by node", tuple(title for title, _ in COLUMNS), tuple(rows), frozenset(range(3, len(COLUMNS)))
    )


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
