"""The list of layers: one line each with its headroom gauge, unfolding into bounds, evidence and refused rows."""

from __future__ import annotations

from collections.abc import Sequence

from oaq.numerics.formats import S32
from oaq.report import words
from oaq.report.data import LayerFacts, ReportData, is_proved
from oaq.report.html.markup import Raw, chip, facts, section, table, text

LOWEST = 1 / 64
"""Left end of the gauges: a 64th of the register."""

COLUMNS = (
    ("Layer", ""),
    ("Bits W/A", ""),
    ("Kernel row", ""),
    ("Run", "n"),
    ("Spills", "n"),
    ("Share of the register used", ""),
    ("", "n"),
    ("SQNR dB", "n"),
)


def layers(data: ReportData) -> str:
    """The section."""
    if not data.layers:
        return ""
    highest = _highest(data.layers)
    head = "".join(f'<div class="{style}">{text(title)}</div>' for title, style in COLUMNS)
    lines = "".join(_layer(index, layer, highest, data) for index, layer in enumerate(data.layers, 1))
    body = _legend(data) + f'<div class="layers"><div class="row head">{head}</div>{lines}</div>'
    kinds = "proved observed" if any(layer.observed or layer.sqnr_db is not None for layer in data.layers) else "proved"
    lead = (
        "Where every sum can go, against the register that holds it. Green is proved for every possible input. "
        "Open a layer for its numbers and for the kernels that were refused."
    )
    return section("Layers and headroom", kinds, lead, body, "layers")


def _highest(layers: Sequence[LayerFacts]) -> float:
    gauged = [layer for layer in layers if layer.modulo is None]
    bare = [
        words.share(layer.bounds.unspilled, layer.accumulator.range)
        for layer in gauged
        if layer.bounds.unspilled is not None
    ]
    return max([2.0, *(2 * share for share in bare), *(words.narrow_share(layer) for layer in gauged)])


def _legend(data: ReportData) -> str:
    items = [
        ('<i class="fill" style="width:70%"></i>', "proved bound, as scheduled (log scale)"),
        ('<i class="full" style="left:50%"></i>', "register full"),
    ]
    if any(layer.bounds.unspilled is not None for layer in data.layers):
        items.append(('<i class="bare" style="left:50%"></i>', "proved bound if nothing were spilled"))
    if any(layer.observed is not None for layer in data.layers):
        items.append(('<i class="seen" style="left:50%"></i>', "largest seen on the images (not a proof)"))
    return (
        '<div class="legend">'
        + "".join(f'<span><span class="gauge">{mark}</span>{text(label)}</span>' for mark, label in items)
        + "</div>"
    )


def _layer(index: int, layer: LayerFacts, highest: float, data: ReportData) -> str:
    schedule = layer.schedule
    spills = "0" if schedule is None else words.integer(schedule.segments)
    if schedule is not None and schedule.splits:
        spills += f" ({words.integer(schedule.splits)} split)"
    share = words.narrow_share(layer)
    modulo = layer.modulo
    bad = "" if is_proved(layer) or modulo is not None else " " + chip("bad", "not proved")
    bad += "" if modulo is None else " " + chip("modular", words.by_design(modulo))
    cells = (
        (
            "name",
            "",
            f"{index}. {text(layer.name)}{bad}<small>{text(layer.kind)}, {words.shape(layer.output_shape)}</small>",
        ),
        ("", "bits W/A", f"{words.bits(layer.weight)}<span class=soft> / </span>{words.bits(layer.activation)}"),
        ("kernel", "kernel", f"<code>{text(layer.row).replace('_', '_<wbr>')}</code>"),
        ("n", "run", words.run_length(schedule)),
        ("n", "spills", spills),
        ("where", "", gauge(layer, highest) if modulo is None else ""),
        (
            "n",
            "of register",
            f"modulo 2^{modulo}"
            if modulo is not None
            else words.percent(share) + ("<small> of s32</small>" if layer.bounds.lane is None else ""),
        ),
        ("n", "SQNR dB", "\u2013" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}"),
    )
    line = "".join(
        f'<div class="{style}">{f"<i class=label>{label}</i>" if label else ""}{content}</div>'
        for style, label, content in cells
    )
    return f"<details><summary class=row>{line}</summary><div class=body>{_details(layer, data)}</div></details>"


def gauge(layer: LayerFacts, highest: float) -> str:
    """One bar: proved, full mark, unspilled, seen."""
    share = words.narrow_share(layer)
    modifier = " over" if share > 1 else ""
    marks = [
        f'<i class="beyond" style="left:{_place(1.0, highest)}"></i>',
        f'<i class="fill{modifier}" style="width:{_place(share, highest)}"></i>',
    ]
    if layer.bounds.unspilled is not None:
        bare = words.share(layer.bounds.unspilled, layer.accumulator.range)
        marks.append(f'<i class="bare" style="left:{_place(bare, highest)}"></i>')
    observed_share = _observed_share(layer)
    if observed_share is not None:
        marks.append(f'<i class="seen" style="left:{_place(observed_share, highest)}"></i>')
    marks.append(f'<i class="full" style="left:{_place(1.0, highest)}"></i>')
    return f'<div class="gauge" title="{words.percent(share)} of the register">{"".join(marks)}</div>'


def _observed_share(layer: LayerFacts) -> float | None:
    if layer.observed is None:
        return None
    if layer.bounds.lane is None:
        return words.share(layer.observed.total, S32)
    return None if layer.observed.lane is None else words.share(layer.observed.lane, layer.accumulator.range)


def _place(share: float, highest: float) -> str:
    return f"{words.log_place(share, LOWEST, highest) * 100:.1f}%"


def _details(layer: LayerFacts, data: ReportData) -> str:
    bounds, schedule = layer.bounds, layer.schedule
    proved: list[tuple[str, object]] = [("register", words.register(layer.accumulator))]
    if layer.modulo is not None:
        proved.append(("promise", words.by_design(layer.modulo)))
    if bounds.lane is not None:
        proved.append(("worst lane", f"{words.interval(bounds.lane)}, {bounds.lane.signed_bits} bits"))
    if bounds.unspilled is not None:
        proved.append(("unspilled", f"{words.interval(bounds.unspilled)}, {bounds.unspilled.signed_bits} bits"))
    proved.append(("s32 total", f"{words.interval(bounds.total)}, {bounds.total.signed_bits} bits"))
    proved.append(
        ("operands", f"weights {words.interval(layer.weight)}, activations {words.interval(layer.activation)}")
    )
    plan: list[tuple[str, object]] = [
        ("sums", f"{words.integer(layer.terms)} products per output, {words.short(layer.macs)} MAC per sample"),
        ("input", words.shape(layer.input_shape)),
    ]
    if schedule is not None:
        plan.append(
            (
                "schedule",
                f"{words.integer(schedule.steps)} steps in {words.integer(schedule.segments)} runs of "
                f"{schedule.shortest} to {schedule.longest}, {words.integer(schedule.splits)} split, "
                f"{words.integer(schedule.tiles)} tiles",
            )
        )
    if layer.cost is not None:
        total = sum(row_layer.cost or 0.0 for row_layer in data.layers)
        plan.append(("cost", f"{words.percent(layer.cost / total) if total else '-'} of the predicted total"))
    blocks = [f"<div><h3>{chip('proved')}</h3>{facts(proved)}</div>", f"<div><h3>Plan</h3>{facts(plan)}</div>"]
    if layer.observed is not None:
        heading = chip("observed", f"observed on {layer.observed.images} images")
        blocks.append(f"<div><h3>{heading}</h3>{_observed_facts(layer)}</div>")
    refused = ""
    if layer.refused:
        rows = [(Raw(f"<code>{text(refusal.row)}</code>"), refusal.reason) for refusal in layer.refused]
        refused = "<h3>Rows not taken</h3>" + table(("Kernel row", "Why"), rows)
    return f'<div class="facts">{"".join(blocks)}</div>{refused}'


def _observed_facts(layer: LayerFacts) -> str:
    observed = layer.observed
    if observed is None:
        return ""
    pairs: list[tuple[str, object]] = []
    if observed.lane is not None:
        pairs.append(("worst lane", words.interval(observed.lane)))
    pairs.append(("s32 total", words.interval(observed.total)))
    pairs.append(
        (
            "outputs clamped",
            f"{words.percent(observed.at_low)} at the low end, {words.percent(observed.at_high)} at the high end",
        )
    )
    return facts(pairs)
