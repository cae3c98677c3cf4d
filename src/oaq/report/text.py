"""The report as text: a headline and tables."""

from __future__ import annotations

from oaq.escape import escape_name
from oaq.report import words
from oaq.report.agreement import sentences
from oaq.report.codebooks import codebook_table
from oaq.report.data import Latency, LayerFacts, ReportData, Verification, effective_bits, is_proved, mean
from oaq.report.density_table import density_rows, density_table
from oaq.report.kinds import kind_table
from oaq.terminal.table import Table, render


def headline(data: ReportData) -> str:
    """One line: what is guaranteed, for how many layers, under which instruction set."""
    name = escape_name(data.name)
    total, proved = len(data.layers), data.proved_layers
    where = f"under every {data.isa} kernel chosen"
    if data.tier == "observed":
        return f"{name}: OBSERVED only: no overflow was counted on the data given; another input may overflow"
    modular = data.modular_layers
    if proved + modular < total:
        return f"{name}: NOT PROVED: {total - proved - modular} of {total} layers can overflow {where}"
    if modular:
        return (
            f"{name}: {words.layers_by_design(modular)}, whatever the input; proved for {proved} of {total} layers "
            f"{where}: no sum of theirs can overflow"
        )
    return f"{name}: proved for {proved} of {total} layers {where}: no sum can overflow, whatever the input"


def summary(data: ReportData) -> Table:
    """Key figures, each with the kind of statement it is."""
    rows = [("layers proved", f"{data.proved_layers} of {len(data.layers)}", "proved")]
    if data.modular_layers:
        rows.append(("layers that wrap by design, exact modulo 2^b", str(data.modular_layers), "modular"))
    if data.average_run is not None:
        rows.append(("average run", f"{data.average_run:.1f} steps", "proved"))
    weight = mean(effective_bits(layer.weight) for layer in data.layers)
    activation = mean(effective_bits(layer.activation) for layer in data.layers)
    if weight is not None and activation is not None:
        rows.append(("effective bits, weights / activations", f"{weight:.1f} / {activation:.1f}", "proved"))
    if data.relative_cost is not None:
        allowed = "" if data.budget is None else f" (budget {data.budget:g})"
        rows.append(("cost, 16-bit sums without spills being 1", f"{data.relative_cost:.2f}{allowed}", "predicted"))
    rows += density_rows(data)
    if data.agreement is not None:
        rows += [(name, figure, "observed") for name, figure in sentences(data.agreement)]
    if data.verification is not None:
        verification = data.verification
        rows.append(
            (
                "integers that differ from the reference",
                f"{verification.mismatches} of {verification.integers}",
                "observed",
            )
        )
    rows += [(f"time to {stage}", f"{seconds:.2f} s", "measured") for stage, seconds in data.seconds]
    return Table("Summary", ("", "value", "kind"), tuple(rows))


def layer_table(data: ReportData) -> Table:
    """One line per summing layer."""
    rows = []
    for layer in data.layers:
        schedule = layer.schedule
        rows.append(
            (
                layer.name,
                layer.kind.replace("\u00d7", "x"),
                words.bits(layer.weight),
                words.bits(layer.activation),
                layer.row,
                "-" if schedule is None else f"{schedule.average_run:.1f}",
                "0" if schedule is None else str(schedule.segments),
                "0" if schedule is None else str(schedule.splits),
                _of_register(layer),
                "-" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}",
            )
        )
    head = ("layer", "operator", "W bits", "A bits", "kernel row", "run", "spills", "splits", "of register", "SQNR dB")
    return Table("Layers", head, tuple(rows), frozenset({2, 3, 5, 6, 7, 8, 9}))


def _of_register(layer: LayerFacts) -> str:
    if layer.modulo is not None:
        return f"modulo 2^{layer.modulo}"
    return words.percent(words.narrow_share(layer)) + ("" if is_proved(layer) else " NOT PROVED")


def latency_table(timed: Latency) -> Table:
    """One line per executor."""
    base = None if timed.baseline is None else timed.by_name(timed.baseline).median_ms
    rows = tuple(
        (
            timing.name,
            timing.precision,
            timing.isa,
            f"{timing.median_ms:.2f}",
            f"{timing.low_ms:.2f}..{timing.high_ms:.2f}",
            str(timing.repeats),
            "-" if base is None else f"{base / timing.median_ms:.2f}x",
            timing.note,
        )
        for timing in timed.timings
    )
    pins = f", bound to CPU {', '.join(map(str, timed.pinned))}" if timed.pinned else ""
    title = f"Latency, {timed.threads} thread{'s' if timed.threads != 1 else ''}, batch {timed.batch}{pins}"
    ratio = "speed" if base is None else f"vs {timed.baseline}"
    head = ("executor", "type", "ISA", "median ms", "quartiles", "calls", ratio, "outputs")
    return Table(title, head, rows, frozenset({3, 4, 5, 6}))


def execution_table(verification: Verification) -> Table:
    """One line per executor compared with the reference; those that did not run in capitals."""
    rows = tuple(
        (
            execution.name,
            str(execution.integers) if execution.ran else "-",
            str(execution.mismatches) if execution.ran else "NOT RUN HERE",
            execution.note,
        )
        for execution in verification.executions
    )
    head = ("executor", "integers", "different", "note")
    return Table("Every executor against the reference", head, rows, frozenset({1, 2}))


def tables(data: ReportData, *, layers: bool = True) -> list[Table]:
    """Every table the report has data for."""
    parts = [summary(data)]
    if layers and data.layers:
        parts.append(layer_table(data))
    if layers and data.kinds:
        parts.append(kind_table(data.kinds))
    zeros = density_table(data) if layers else None
    if zeros is not None:
        parts.append(zeros)
    if layers and data.codebooks:
        parts.append(codebook_table(data.codebooks))
    if data.verification is not None:
        parts.append(execution_table(data.verification))
    if data.latency is not None:
        parts.append(latency_table(data.latency))
    return parts


def to_text(data: ReportData, *, layers: bool = True) -> str:
    """The whole report as plain text."""
    return headline(data) + "\n\n" + render(tables(data, layers=layers)) + "\n"
