"""Every other section of the page; each returns "" when its data are absent."""

from __future__ import annotations

from oaq.report import words
from oaq.report.data import Latency, ReportData, Timing, effective_bits
from oaq.report.html import svg
from oaq.report.html.markup import Raw, chip, facts, section, table, text

KINDS = (
    ("proved", "holds for every possible input: exact integer arithmetic on the weights, no data involved"),
    ("observed", "counted or computed on the images given; another image may differ"),
    ("measured", "timed on the machine named below, side by side in one run"),
    ("predicted", "the planner's cost model; it chose by these numbers and they are not timings"),
)


def guarantee(data: ReportData) -> str:
    """What is promised, and on what it rests."""
    legend = '<dl class="kinds">' + "".join(f"<dt>{chip(k)}</dt><dd>{text(v)}</dd>" for k, v in KINDS) + "</dl>"
    rests = "".join(f"<li>{text(one[:1].upper() + one[1:])}.</li>" for one in data.assumptions)
    notes = "".join(f"<li>{text(one)}</li>" for one in data.notes)
    body = (
        f"<p>Four kinds of statement appear below and are never mixed:</p>{legend}"
        + (f"<h3>Tier \u201c{text(data.tier)}\u201d rests on</h3><ul>{rests}</ul>" if rests else "")
        + (f"<h3>Notes</h3><ul>{notes}</ul>" if notes else "")
    )
    return section("What is guaranteed", "", "", body, "guarantee")


def charts(data: ReportData) -> str:
    """Small multiples over layers."""
    names = [layer.name for layer in data.layers]
    if not names:
        return ""
    figures = [
        _figure(
            "Effective bits",
            "log\u2082 of the integers in use; 8 is the whole byte",
            [("weights", "first"), ("activations", "second")],
            svg.by_layer(
                [
                    svg.Series("weights", "first", [effective_bits(one.weight) for one in data.layers], "line"),
                    svg.Series(
                        "activations", "second", [effective_bits(one.activation) for one in data.layers], "line"
                    ),
                ],
                names,
                "bits",
                floor=min(4.0, *(effective_bits(r) for one in data.layers for r in (one.weight, one.activation))),
            ),
        ),
        _figure(
            "Proved run",
            "steps between two spills, average per layer, log scale",
            [],
            svg.by_layer(
                [
                    svg.Series(
                        "run", "proved", [one.schedule.average_run if one.schedule else None for one in data.layers]
                    )
                ],
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
            svg.by_layer([svg.Series("SQNR", "observed", [one.sqnr_db for one in data.layers], "line")], names, "dB"),
        ),
        _figure("Predicted cost", "share of the total, percent", [], _cost(data, names)),
    ]
    body = '<div class="charts">' + "".join(figures) + "</div>"
    return section("Across the network", "", "Layers in execution order; hover a mark for its numbers.", body, "charts")


def _cost(data: ReportData, names: list[str]) -> str:
    total = sum(one.cost or 0.0 for one in data.layers)
    if not total:
        return ""
    shares = [None if one.cost is None else 100 * one.cost / total for one in data.layers]
    return svg.by_layer([svg.Series("cost", "predicted", shares)], names, "%")


def _figure(title: str, about: str, keys: list[tuple[str, str]], drawing: str) -> str:
    if not drawing:
        return ""
    marks = " ".join(f'<span class="chip {kind}">{text(name)}</span>' for name, kind in keys)
    return f"<figure><figcaption>{text(title)} {marks} <span>{text(about)}</span></figcaption>{drawing}</figure>"


def agreement(data: ReportData) -> str:
    """Float network against integer network."""
    seen = data.agreement
    if seen is None:
        return ""
    rows: list[tuple[str, object]] = [
        ("images", words.integer(seen.images)),
        ("same class first", f"{seen.top1_agree} of {seen.images}"),
        ("logit SQNR", f"{seen.logit_sqnr_db:.1f} dB"),
    ]
    if seen.top1_float is not None:
        rows.append(("float network right", f"{seen.top1_float} of {seen.images}"))
    if seen.top1_int is not None:
        rows.append(("integer network right", f"{seen.top1_int} of {seen.images}"))
    few = ""
    if seen.images < 100:
        warning = "So few images cannot resolve small differences in accuracy: read agreement and SQNR first."
        few = f"<p class=lead>{warning}</p>"
    plot = svg.scatter(seen.points, "float output", "integer output")
    words_ = f"<div>{facts(rows, 'stamp')}<p></p>{few}</div>"
    body = f'<div class="split">{words_}<figure>{plot}</figure></div>' if plot else words_
    lead = "The same images through the float network and through the integers."
    return section("Float against integer", "observed", lead, body, "agreement")


def latency(data: ReportData) -> str:
    """Bars of medians with quartile whiskers."""
    timed = data.latency
    if timed is None or not timed.timings:
        return ""
    longest = max(one.high_ms for one in timed.timings) * 1.04
    bars = "".join(_bar(one, timed, longest) for one in timed.timings)
    ratio = _ratio_lead(timed)
    rows = [
        (
            one.name,
            one.precision,
            one.isa,
            f"{one.median_ms:.2f}",
            f"{one.low_ms:.2f} to {one.high_ms:.2f}",
            one.repeats,
            _times(timed, one) or "\u2013",
            one.note,
        )
        for one in timed.timings
    ]
    head = ("Executor", "Type", "ISA", "Median ms", "Quartiles", "Calls", _ratio_head(timed), "Outputs and notes")
    where = f"{timed.threads} thread{'s' if timed.threads != 1 else ''}, batch {timed.batch}"
    if timed.pinned:
        where += f", bound to CPU {', '.join(map(str, timed.pinned))}"
    lead = f"Milliseconds per call, {where}; turns interleaved in one run; whiskers span the quartiles. {ratio}"
    mine = [i for i, one in enumerate(timed.timings) if one.ours]
    body = f'<div class="bars">{bars}</div>' + table(head, rows, numbers=(3, 4, 5, 6), ours=mine)
    return section("Latency", "measured", lead, body, "latency")


def _bar(one: Timing, timed: Latency, longest: float) -> str:
    at, low, high = (100 * v / longest for v in (one.median_ms, one.low_ms, one.high_ms))
    ratio = _times(timed, one)
    return (
        f'<div{" class=ours" if one.ours else ""}><div class="who">{text(one.name)}<small>{text(one.precision)}, '
        f'{text(one.isa)}</small></div><div class="track"><i class="fill" style="width:{at:.2f}%"></i>'
        f'<i class="whisker" style="left:{low:.2f}%;width:{max(high - low, 0):.2f}%"></i></div>'
        f'<div class="value">{words.milliseconds(one.median_ms)} ms'
        + (f" <small>{ratio}</small>" if ratio and one.name != timed.baseline else "")
        + "</div></div>"
    )


def _times(timed: Latency, one: Timing) -> str:
    if timed.baseline is None:
        return ""
    return f"{timed.by_name(timed.baseline).median_ms / one.median_ms:.2f}\u00d7"


def _ratio_head(timed: Latency) -> str:
    return "Speed" if timed.baseline is None else "Speed-up"


def _ratio_lead(timed: Latency) -> str:
    return "" if timed.baseline is None else f"Speed-up is against {timed.baseline}."


def profile(data: ReportData) -> str:
    """Where the time goes."""
    if not data.profile:
        return ""
    total = sum(one.microseconds for one in data.profile) or 1.0
    slowest = sorted(data.profile, key=lambda one: -one.microseconds)[:15]
    rows = [
        (
            one.name,
            one.kind,
            Raw(f"<code>{text(one.row)}</code>"),
            f"{one.microseconds:.0f}",
            words.percent(one.microseconds / total),
            f"{one.macs / one.microseconds / 1e3:.1f}" if one.macs and one.microseconds else "\u2013",
        )
        for one in slowest
    ]
    lead = f"The {len(rows)} slowest of {len(data.profile)} nodes; {total / 1e3:.2f} ms in all."
    head = ("Node", "Operator", "Kernel row", "\u00b5s", "Share", "GMAC/s")
    return section("Where the time goes", "measured", lead, table(head, rows, numbers=(3, 4, 5)), "profile")


def exactness(data: ReportData) -> str:
    """Which executors computed the same integers as the reference."""
    found = data.verification
    if found is None:
        return ""
    rows = [
        (
            one.name,
            words.integer(one.integers) if one.ran else "\u2013",
            Raw(chip("bad", "not run here")) if not one.ran else _difference(one.mismatches),
            one.note,
        )
        for one in found.executions
    ]
    pairs: list[tuple[str, object]] = [
        ("layers proved", f"{found.proved} of {found.layers}"),
        ("certificate", found.certificate),
        ("inputs", ", ".join(f"{count} {origin}" for origin, count in found.samples if count) or "none"),
        ("signature", Raw(f"<code>{text(found.signature)}</code>")),
    ]
    unsafe = "".join(f"<li>{text(one)}</li>" for one in found.unsafe)
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
    pairs += [(f"time to {what}", f"{seconds:.2f} s") for what, seconds in data.seconds]
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
