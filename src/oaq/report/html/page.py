"""The page: header, verdict, key figures, sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from oaq.program.atomic import write_atomically
from oaq.report import words
from oaq.report.data import ReportData, effective_bits, mean
from oaq.report.html import sections
from oaq.report.html.layers import layers
from oaq.report.html.markup import chip, text
from oaq.report.html.pictures import Sheet, pictures_section
from oaq.report.html.robust import CHECKED, robust_section
from oaq.report.robust import Asked
from oaq.report.scores import Agreement
from oaq.tasks.task import IMAGES, score_text


def to_html(data: ReportData, path: Path, certificates: Sequence[Asked] = (), *, sheets: Sequence[Sheet] = ()) -> None:
    """Write the report as one HTML file, whole or not at all.

    Args:
        data: the report.
        path: of the file.
        certificates: of robustness, those that the checker accepted.
        sheets: pictures of what both networks answer.

    Raises:
        FormatError: the file cannot be written.
    """
    write_atomically(path, [render(data, certificates, sheets).encode()])


def render(data: ReportData, certificates: Sequence[Asked] = (), sheets: Sequence[Sheet] = ()) -> str:
    """The report as HTML text."""
    style = resources.files("oaq.report.html").joinpath("style.css").read_text(encoding="utf-8")
    parts = [
        sections.guarantee(data),
        sections.latency(data),
        sections.agreement(data),
        pictures_section(sheets),
        sections.charts(data),
        layers(data),
        sections.kinds(data),
        sections.zeros(data),
        sections.codebooks(data),
        sections.profile(data),
        sections.exactness(data),
        *([robust_section(certificates, CHECKED)] if certificates else []),
        sections.stamp(data),
        sections.glossary(),
    ]
    kicker = f'<div class="over">oaq report \u00b7 {text(data.environment.date)}</div>'
    head = f"<header>{kicker}<h1>{text(data.name)}</h1></header>"
    figures = f'<div class="tiles">{"".join(_tile(*tile) for tile in tiles(data))}</div>'
    body = head + verdict(data) + figures + _navigation(parts) + "".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(data.name)}: oaq report</title><style>{style}</style></head>"
        f"<body><main>{body}<footer>Made by oaq, overflow-aware quantization.</footer></main></body></html>\n"
    )


def _navigation(parts: list[str]) -> str:
    headings = (re.match(r'<section id="(\w+)"><h2>([^<]*?) ?<', part) for part in parts)
    return "<nav>" + "".join(f'<a href="#{heading[1]}">{heading[2]}</a>' for heading in headings if heading) + "</nav>"


def verdict(data: ReportData) -> str:
    """The one sentence a reader came for."""
    total, proved = len(data.layers), data.proved_layers
    if data.tier == "observed":
        kind, headline = (
            "observed",
            "Observed: no overflow was counted on the images given. Another input may overflow.",
        )
    elif data.modular_layers and proved + data.modular_layers == total:
        kind, headline = "", f"Modular: {words.layers_by_design(data.modular_layers)}, whatever the input."
    elif proved == total:
        kind, headline = "", "Proved: no sum can leave its register, whatever the input."
    else:
        kind, headline = "bad", f"Not proved: {total - proved - data.modular_layers} of {total} layers can overflow."
    verification = data.verification
    if verification is not None and (verification.mismatches or verification.unsafe):
        kind = "bad"
        headline += (
            f" But verification failed: {words.integer(verification.mismatches)} integers differ between executors."
        )
    detail = f"{proved} of {total} layers proved for kernels of {data.isa}."
    return f'<div class="banner {kind}"><strong>{text(headline)}</strong><span class="over">{text(detail)}</span></div>'


def tiles(data: ReportData) -> list[tuple[str, str, str, str]]:
    """Key figures: (kind, value, unit, what)."""
    figures = [("proved", str(data.proved_layers), f"/ {len(data.layers)}", "layers whose every sum fits its register")]
    if data.average_run is not None:
        figures.append(("proved", f"{data.average_run:.1f}", "steps", "average run between two spills"))
    weight = mean(effective_bits(layer.weight) for layer in data.layers)
    activation = mean(effective_bits(layer.activation) for layer in data.layers)
    if weight is not None and activation is not None:
        figures.append(("proved", f"{weight:.1f} / {activation:.1f}", "", "effective bits, weights / activations"))
    if data.relative_cost is not None:
        allowed = "" if data.budget is None else f" (budget {data.budget:g})"
        figures.append(
            ("predicted", f"{data.relative_cost:.2f}", "\u00d7", f"cost of 16-bit sums without spills{allowed}")
        )
    if data.agreement is not None:
        figures += _agreement_tiles(data.agreement)
    figures += _latency_tile(data)
    if data.verification is not None:
        caption = f"of {words.short(data.verification.integers)} integers differ from the reference, over all executors"
        figures.append(("observed", words.integer(data.verification.mismatches), "", caption))
    return figures


def _agreement_tiles(agreement: Agreement) -> list[tuple[str, str, str, str]]:
    figures = []
    if agreement.scores:
        score = agreement.scores[0]
        value, _, unit = score_text(score.agreement, score.unit, agreement.images).partition(" ")
        unit = f"/ {agreement.images}" if score.unit == IMAGES else unit
        figures.append(("observed", value, unit, f"{score.metric}, integers against float"))
    least = "" if len(agreement.sqnr_db) == 1 else f", least of {len(agreement.sqnr_db)} outputs"
    return [*figures, ("observed", f"{agreement.least_sqnr_db:.1f}", "dB", f"output SQNR against float{least}")]


def _latency_tile(data: ReportData) -> list[tuple[str, str, str, str]]:
    if data.latency is None or not data.latency.timings:
        return []
    timings = [timing for timing in data.latency.timings if timing.ours]
    if not timings:
        return []
    best = min(timings, key=lambda timing: timing.median_ms)
    caption = f"per call, {best.isa}, {data.latency.threads} thread{'s' if data.latency.threads != 1 else ''}"
    if data.latency.baseline is not None and data.latency.baseline != best.name:
        ratio = data.latency.by_name(data.latency.baseline).median_ms / best.median_ms
        caption += f"; {ratio:.2f}\u00d7 the speed of {data.latency.baseline}"
    return [("measured", words.milliseconds(best.median_ms), "ms", caption)]


def _tile(kind: str, value: str, unit: str, caption: str) -> str:
    small = f" <small>{text(unit)}</small>" if unit else ""
    return f'<div class="tile">{chip(kind)}<b>{text(value)}{small}</b><span class="what">{text(caption)}</span></div>'
