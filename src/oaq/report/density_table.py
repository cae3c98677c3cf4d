"""Zeros and neural efficiency as tables, the same in the terminal and in the page."""

from __future__ import annotations

from collections.abc import Iterable

from oaq.report import words
from oaq.report.data import ReportData
from oaq.report.density import totals
from oaq.report.density_facts import Density, NeuralEfficiency
from oaq.terminal.table import Table


def density_rows(data: ReportData) -> list[tuple[str, str, str]]:
    """Lines of the summary: (what, value, kind)."""
    total = totals(_layers(data))
    rows = []
    if total is not None:
        rows += [
            ("weights that are zero", words.percent(total.sparsity), "proved"),
            ("bit operations", words.short(total.bit_operations), "proved"),
            ("products that are not with zero", words.short(total.products), "proved"),
        ]
    if data.neural is not None:
        rows.append(("neural efficiency", _neural(data.neural), "observed"))
    return rows


def _neural(neural: NeuralEfficiency) -> str:
    aiq = "" if neural.aiq is None else f", aIQ {neural.aiq:.3f} at a score of {neural.score:g}"
    return f"{neural.efficiency:.3f}{aiq} on {neural.samples} samples"


def density_table(data: ReportData) -> Table | None:
    """One line per layer; None where no layer states its zeros."""
    entropies = {} if data.neural is None else {layer.layer: layer for layer in data.neural.layers}
    rows = []
    for layer in data.layers:
        zeros = layer.density
        if zeros is None:
            continue
        layer_entropy = entropies.get(layer.name)
        skipped = "-" if zeros.steps is None else f"{zeros.skipped} of {zeros.steps}"
        rows.append(
            (
                layer.name,
                words.percent(zeros.zeros / zeros.weights),
                words.short(zeros.products),
                words.short(zeros.bit_operations),
                skipped,
                str(zeros.unread),
                str(zeros.silent),
                "-" if layer_entropy is None else f"{layer_entropy.entropy:.2f} of {layer_entropy.neurons}",
            )
        )
    if not rows:
        return None
    head = (
        "layer",
        "zeros",
        "products",
        "bit ops",
        "steps left out",
        "unread inputs",
        "silent outputs",
        "entropy, bits",
    )
    return Table("Zeros", head, tuple(rows), frozenset(range(1, len(head))))


def _layers(data: ReportData) -> Iterable[Density]:
    return (layer.density for layer in data.layers if layer.density is not None)
