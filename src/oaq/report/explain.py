"""Where a network's time goes, node by node: measured, beside what its kernel could do and what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oaq.kernels.cost import limit
from oaq.kernels.plan import NodePlan, Plan
from oaq.report.node_time import NodeTime
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


def explain(plan: Plan, times: Sequence[NodeTime], batch: int, threads: int) -> tuple[Explained, ...]:
    """Put the times of a session beside its plan.

    Args:
        plan: that ran.
        times: of its nodes, in order, per run of the whole batch.
        batch: samples per run.
        threads: of the session.
    """
    whole = sum(one.microseconds for one in times) or 1.0
    return tuple(
        _explained(plan, planned, one, (whole, batch, threads)) for planned, one in zip(plan.nodes, times, strict=True)
    )


def _explained(plan: Plan, planned: NodePlan, one: NodeTime, run: tuple[float, int, int]) -> Explained:
    whole, batch, threads = run
    gmacs = one.macs / one.microseconds / 1e3 if one.macs and one.microseconds else None
    most = limit(plan.costs, planned.row) if plan.costs is not None else None
    found = planned.schedule
    spills = found is not None and not found.accumulator.is_exact and found.accumulator.max_run != 1
    return Explained(
        one.name,
        one.kind,
        one.row,
        one.microseconds,
        one.microseconds / whole,
        planned.cost * batch * 1e6 if plan.costs is not None else None,
        gmacs,
        gmacs * 1e9 / (most * threads) if gmacs is not None and most else None,
        found.spills / found.tiles if spills and found is not None else None,
        found.average_run if spills and found is not None else None,
        one.operands,
        one.in_words,
    )


def explained_table(name: str, nodes: Sequence[Explained]) -> Table:
    """One line per node, and one for all."""
    rows = [
        (
            one.name,
            one.kind.replace("\u00d7", "x"),
            one.row,
            f"{one.microseconds:.1f}",
            f"{100 * one.share:.1f}",
            _text(one.predicted, 1),
            _text(one.gmacs, 1),
            "-" if one.of_limit is None else f"{100 * one.of_limit:.0f} %",
            _text(one.spills, 1),
            _text(one.run, 1),
            one.operands or "-",
            "-" if one.in_words is None else f"{100 * one.in_words:.0f} %",
        )
        for one in nodes
    ]
    whole = sum(one.microseconds for one in nodes)
    known = [one.predicted for one in nodes if one.predicted is not None]
    rows.append(("all", "", "", f"{whole:.1f}", "100.0", f"{sum(known):.1f}" if known else "-", "", "", "", "", "", ""))
    return Table(
        f"{name}, by node", tuple(title for title, _ in COLUMNS), tuple(rows), frozenset(range(3, len(COLUMNS)))
    )


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
