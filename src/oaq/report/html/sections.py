"""Every other section of the page; each returns "" when its data are absent."""

from __future__ import annotations

from oaq.report import words
from oaq.report.agreement import sentences
from oaq.report.codebooks import codebook_table
from oaq.report.data import Latency, ReportData, Timing, effective_bits
from oaq.report.density_table import density_table
from oaq.report.html import svg
from oaq.report.html.markup import Raw, chip, facts, section, table, text
from oaq.report.kinds import kind_table

KINDS = (
    ("proved", "holds for every possible input: exact integer arithmetic on the weights, no data involved"),
    ("observed", "counted or computed on the images given; another image may differ"),
    ("measured", "timed on the machine named below, side by side in one run"),
    ("predicted", "the planner's cost model; it chose by these numbers and they are not timings"),
)
MODULAR = ("modular", "exact modulo 2^b for every possible input; sums leave their registers, by design")
"""Said of layers that were trained to wrap, instead of "proved"."""


def guarantee(data: ReportData) -> str:
    """What is promised, and on what it rests."""
    kinds = (KINDS[0], MODULAR, *KINDS[1:]) if data.modular_layers else KINDS
    legend = '<dl class="kinds">' + "".join(f"<dt>{chip(k)}</dt><dd>{text(v)}</dd>" for k, v in kinds) + "</dl>"
    rests = "".join(f"<li>{text(assumption[:1].upper() + assumption[1:])}.</li>" for assumption in data.assumptions)
    notes = "".join(f"<li>{text(note)}</li>" for note in data.notes)
    body = (
        f"<p>{'Five' if data.modular_layers else 'Four'} kinds of statement appear below and are never mixed:</p>"
        + legend
        + (f"<h3>Tier \u201c{text(data.tier)}\u201d rests on</h3><ul>{rests}</ul>" if rests else "")
        + (f"<h3>Notes</h3><ul>{notes}</ul>" if notes else "")
    )
    return section("What is guaranteed", "", "", body, "guarantee")


def charts(data: ReportData) -> str:
    """Small multiples over layers."""
    names = [layer.name for layer in data.layers]
    if not names:
        return ""
    runs = [layer.schedule.average_run if layer.schedule else None for layer in data.layers]
    figures = [
        _figure(
            "Effective bits",
            "log\u2082 of the integers in use; 8 is the whole byte",
            [("weights", "first"), ("activations", "second")],
            svg.by_layer(
                [
                    svg.Series("weights", "first", [effective_bits(layer.weight) for layer in data.layers], "line"),
                    svg.Series(
                        "activations", "second", [effective_bits(layer.activation) for layer in data.layers], "line"
                    ),
                ],
                names,
                "bits",
                floor=min(4.0, *(effective_bits(r) for layer in data.layers for r in (layer.weight, layer.activation))),
            ),
        ),
        _figure(
            "Proved run",
            "steps between two spills, average per layer, log scale",
            [],
            svg.by_layer(
                [svg.Series("run", "proved", runs)],
                names,
                "steps",
                log=True,
                floor=0.5,
            ),
        ),
        _figure(
            "SQNR against float",
            "dB at each layer's output, observed",
            [],
            svg.by_layer(
                [svg.Series("SQNR", "observed", [layer.sqnr_db for layer in data.layers], "line")], names, "dB"
            ),
        ),
        _figure("Predicted cost", "share of the total, percent", [], _cost(data, names)),
    ]
    body = '<div class="charts">' + "".join(figures) + "</div>"
    return section("Across the network", "", "Layers in execution order; hover a mark for its numbers.", body, "charts")


def _cost(data: ReportData, names: list[str]) -> str:
    total = sum(layer.cost or 0.0 for layer in data.layers)
    if not total:
        return ""
    shares = [None if layer.cost is None else 100 * layer.cost / total for layer in data.layers]
    return svg.by_layer([svg.Series("cost", "predicted", shares)], names, "%")


def _figure(title: str, caption: str, keys: list[tuple[str, str]], drawing: str) -> str:
    if not drawing:
        return ""
    marks = " ".join(f'<span class="chip {kind}">{text(name)}</span>' for name, kind in keys)
    return f"<figure><figcaption>{text(title)} {marks} <span>{text(caption)}</span></figcaption>{drawing}</figure>"


def agreement(data: ReportData) -> str:
    """Float network against integer network."""
    scores = data.agreement
    if scores is None:
        return ""
    rows: list[tuple[str, object]] = [
        ("images", words.integer(scores.images)),
        *sentences(scores),
    ]
    if len(scores.sqnr_db) > 1:
        rows += [(f"SQNR of {name}", f"{decibels:.1f} dB") for name, decibels in scores.sqnr_db]
    few = ""
    if scores.images < 100:
        warning = "So few images cannot resolve small differences in accuracy: read agreement and SQNR first."
        few = f"<p class=lead>{warning}</p>"
    plot = svg.scatter(scores.points, "float output", "integer output")
    words_ = f"<div>{facts(rows, 'stamp')}<p></p>{few}</div>"
    body = f'<div class="split">{words_}<figure>{plot}</figure></div>' if plot else words_
    lead = "The same images through the float network and through the integers."
    return section("Float against integer", "observed", lead, body, "agreement")


def latency(data: ReportData) -> str:
    """Bars of medians with quartile whiskers."""
    timed = data.latency
    if timed is None or not timed.timings:
        return ""
    longest = max(timing.high_ms for timing in timed.timings) * 1.04
    bars = "".join(_bar(timing, timed, longest) for timing in timed.timings)
    ratio = _ratio_lead(timed)
    rows = [
        (
            timing.name,
            timing.precision,
            timing.isa,
            f"{timing.median_ms:.2f}",
            f"{timing.low_ms:.2f} to {timing.high_ms:.2f}",
            timing.repeats,
            _times(timed, timing) or "\u2013",
            timing.note,
        )
        for timing in timed.timings
    ]
    head = ("Executor", "Type", "ISA", "Median ms", "Quartiles", "Calls", _ratio_head(timed), "Outputs and notes")
    where = f"{timed.threads} thread{'s' if timed.threads != 1 else ''}, batch {timed.batch}"
    if timed.pinned:
        where += f", bound to CPU {', '.join(map(str, timed.pinned))}"
    lead = f"Milliseconds per call, {where}; turns interleaved in one run; whiskers span the quartiles. {ratio}"
    own_rows = [i for i, timing in enumerate(timed.timings) if timing.ours]
    body = f'<div class="bars">{bars}</div>' + table(head, rows, numbers=(3, 4, 5, 6), ours=own_rows)
    return section("Latency", "measured", lead, body, "latency")


def _bar(timing: Timing, timed: Latency, longest: float) -> str:
    at, low, high = (100 * v / longest for v in (timing.median_ms, timing.low_ms, timing.high_ms))
    ratio = _times(timed, timing)
    return (
        f'<div{" class=ours" if timing.ours else ""}><div class="who">{text(timing.name)}'
        f"<small>{text(timing.precision)}, {text(timing.isa)}</small></div>"
        f'<div class="track"><i class="fill" style="width:{at:.2f}%"></i>'
        f'<i class="whisker" style="left:{low:.2f}%;width:{max(high - low, 0):.2f}%"></i></div>'
        f'<div class="value">{words.milliseconds(timing.median_ms)} ms'
        + (f" <small>{ratio}</small>" if ratio and timing.name != timed.baseline else "")
        + "</div></div>"
    )


def _times(timed: Latency, timing: Timing) -> str:
    if timed.baseline is None:
        return ""
    return f"{timed.by_name(timed.baseline).median_ms / timing.median_ms:.2f}\u00d7"


def _ratio_head(timed: Latency) -> str:
    return "Speed" if timed.baseline is None else "Speed-up"


def _ratio_lead(timed: Latency) -> str:
    return "" if timed.baseline is None else f"Speed-up is against {timed.baseline}."


def profile(data: ReportData) -> str:
    """Where the time goes."""
    if not data.profile:
        return ""
    total = sum(node.microseconds for node in data.profile) or 1.0
    slowest = sorted(data.profile, key=lambda node: -node.microseconds)[:15]
    rows = [
        (
            node.name,
            node.kind,
            Raw(f"<code>{text(node.row)}</code>"),
            f"{node.microseconds:.0f}",
            words.percent(node.microseconds / total),
            f"{node.macs / node.microseconds / 1e3:.1f}" if node.macs and node.microseconds else "\u2013",
        )
        for node in slowest
    ]
    lead = f"The {len(rows)} slowest of {len(data.profile)} nodes; {total / 1e3:.2f} ms in all."
    head = ("Node", "Operator", "Kernel row", "\u00b5s", "Share", "GMAC/s")
    return section("Where the time goes", "measured", lead, table(head, rows, numbers=(3, 4, 5)), "profile")


def codebooks(data: ReportData) -> str:
    """Piecewise weights, layer by layer."""
    if not data.codebooks:
        return ""
    lines = codebook_table(data.codebooks)
    lead = (
        "Weights of these layers are integers of a codebook: fine steps about zero, steps of r beyond. Each takes "
        "b + 1 bits of the file. SQNR is that of the weights alone: of those in the file, of a rounding to nearest, "
        "and of uniform weights of as many stored bits, to nearest too."
    )
    body = table(lines.head, lines.rows, tuple(range(1, len(lines.head))))
    return section("Piecewise weights", "", lead, body, "codebooks")


def kinds(data: ReportData) -> str:
    """Kinds of nodes, and which compute with integers alone."""
    if not data.kinds:
        return ""
    lines = kind_table(data.kinds)
    lead = (
        "No node computes on floats. A node that requantizes by float32_half_even multiplies each integer by a float32 "
        "and rounds; in fixed point, by an integer and a shift."
    )
    return section("Nodes", "", lead, table(lines.head, lines.rows, (1, 2, 3)), "nodes")


def zeros(data: ReportData) -> str:
    """Zeros, bit operations, steps left out and entropies, layer by layer."""
    lines = density_table(data)
    if lines is None:
        return ""
    lead = (
        "Bit operations count operands and weights by their bits and the part of the weights that is not zero. Steps "
        "left out are those at which a whole tile of outputs has only zeros. An unread input and a silent output have "
        "only zeros."
    )
    body = table(lines.head, lines.rows, tuple(range(1, len(lines.head))))
    return section("Zeros", "", lead, body, "zeros")


def exactness(data: ReportData) -> str:
    """Which executors computed the same integers as the reference."""
    results = data.verification
    if results is None:
        return ""
    rows = [
        (
            execution.name,
            words.integer(execution.integers) if execution.ran else "\u2013",
            Raw(chip("bad", "not run here")) if not execution.ran else _difference(execution.mismatches),
            execution.note,
        )
        for execution in results.executions
    ]
    pairs: list[tuple[str, object]] = [
        ("layers proved", f"{results.proved} of {results.layers}"),
        *((("layers exact modulo 2^b, wrapping by design", data.modular_layers),) if data.modular_layers else ()),
        ("certificate", results.certificate),
        ("inputs", ", ".join(f"{count} {origin}" for origin, count in results.samples if count) or "none"),
        ("signature", Raw(f"<code>{text(results.signature)}</code>")),
    ]
    unsafe = "".join(f"<li>{text(reason)}</li>" for reason in results.unsafe)
    body = (
        (f"<h3>{chip('bad', 'unsafe')}</h3><ul>{unsafe}</ul>" if unsafe else "")
        + facts(pairs, "stamp")
        + "<p></p>"
        + table(("Executor", "Integers compared", "Different", ""), rows, numbers=(1, 2))
    )
    lead = (
        "Every executor against the integer reference, integer by integer. Witnesses are inputs constructed to drive "
        "a sum to its proved bound."
    )
    return section("Exactness", "proved observed", lead, body, "exactness")


def _difference(count: int) -> object:
    return Raw(chip("bad", words.integer(count))) if count else "0"


def stamp(data: ReportData) -> str:
    """Environment."""
    at = data.environment
    pairs: list[tuple[str, object]] = [
        ("CPU", at.cpu),
        ("cores", at.cores),
        ("runs", ", ".join(at.isas) or "no native kernels on this machine"),
        ("planned for", data.isa + (f" (OAQ_ISA={at.forced_isa})" if at.forced_isa else "")),
        ("system", at.system),
        ("compiler", at.compiler or "\u2013"),
        ("commit", at.commit or "not a source tree"),
        ("versions", ", ".join(f"{name} {version}" for name, version in at.versions)),
        ("date", at.date),
    ]
    pairs += [(f"time to {stage}", f"{seconds:.2f} s") for stage, seconds in data.seconds]
    return section("Where this comes from", "", "", facts(pairs, "stamp"), "stamp")


def glossary() -> str:
    """The words used."""
    entries = (
        ("register, lane", "where a kernel adds products; several lanes may share one output's sum"),
        ("step", "four products of one sum; in depthwise layers a pair of taps"),
        ("run, spill", "steps added in a narrow register before it is added into a 32-bit one, and that addition"),
        ("split", "a step issued twice because one of its pairs of products alone could leave the register"),
        ("effective bits", "log\u2082 of how many integers a tensor uses; fewer bits make longer runs"),
        ("SQNR", "signal to quantization noise ratio; 20 dB is noise of a tenth of the signal"),
        ("kernel row", "one native kernel with its contract: operand ranges, register widths, instruction set"),
    )
    return section("Words", "", "", facts(entries, "words"), "words")
