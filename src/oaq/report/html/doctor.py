"""A diagnosis as one HTML file: a grid of layers and registers, unfolding into numbers."""

from __future__ import annotations

from importlib import resources

from oaq.doctor import Diagnosis, LayerDiagnosis, Verdict
from oaq.doctor.diagnosis import sentence
from oaq.report.html.markup import Raw, chip, facts, section, table, text

STYLE = """
td.safe{background:color-mix(in srgb,#2a9d54 22%,transparent)}
td.part{background:color-mix(in srgb,#e0a100 30%,transparent)}
td.unsafe{background:color-mix(in srgb,#d03b3b 32%,transparent)}
td.grid,th.grid{text-align:center;white-space:nowrap;font-variant-numeric:tabular-nums}
"""


def render(found: Diagnosis) -> str:
    """The page as HTML text; no network, no scripts."""
    style = resources.files("oaq.report.html").joinpath("style.css").read_text(encoding="utf-8")
    parts = [_verdict(found), _grid(found), _registers(found)]
    if found.samples:
        parts.insert(2, _observed(found))
    if found.islands or found.notes:
        items = "".join(f"<li>{text(one)}</li>" for one in (*found.islands, *found.notes))
        parts.append(
            section("Notes", "", "What is not in the integers, and what was assumed.", f"<ul>{items}</ul>", "notes")
        )
    over = '<div class="over">oaq doctor</div>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(found.program)}: oaq doctor</title><style>{style}{STYLE}</style></head>"
        f"<body><main><header>{over}<h1>{text(found.program)}</h1></header>{''.join(parts)}"
        "<footer>Made by oaq, overflow-aware quantization.</footer></main></body></html>\n"
    )


def _verdict(found: Diagnosis) -> str:
    rows = []
    for one in found.registers:
        bad = found.unsafe(one.name)
        decides = "decides" if one.name in found.deciding else ""
        said = "every layer, every input" if not bad else sentence(bad[0], one.name)
        rows.append((one.name, f"{len(found.layers) - len(bad)} of {len(found.layers)}", decides, said))
    head = ("Registers", "Layers proved", "", "Worst layer")
    lead = "Safe on every register that decides." if found.is_safe else "A sum can leave its register: see below where."
    title = "Safe" if found.is_safe else "Unsafe"
    return section(title, "proved", lead, table(head, rows, numbers=(1,)), "verdict")


def _grid(found: Diagnosis) -> str:
    names = [one.name for one in found.registers]
    head = "<th>Layer</th><th>Kind</th>" + "".join(f"<th class=grid>{text(name)}</th>" for name in names)
    rows = "".join(_row(layer, names) for layer in found.layers)
    body = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    lead = "Outputs that some input can make wrong, and the bits the worst of them needs. Green: none, for every input."
    return section("Layers", "proved", lead, body, "layers")


def _row(layer: LayerDiagnosis, names: list[str]) -> str:
    cells = "".join(_grid_cell(layer, layer.verdicts[name]) for name in names)
    return f"<tr><td>{text(layer.node)}</td><td>{text(layer.kind)}, K {layer.terms}</td>{cells}</tr>"


def _grid_cell(layer: LayerDiagnosis, verdict: Verdict) -> str:
    if verdict.is_safe:
        return '<td class="grid safe">safe</td>'
    if verdict.why:
        return f'<td class="grid unsafe" title="{text(verdict.why)}">undefined</td>'
    style = "unsafe" if 2 * len(verdict.unsafe) > layer.outputs else "part"
    shown = f"{len(verdict.unsafe)} of {layer.outputs}, {int(verdict.bits.max())} bits"
    worst = verdict.worst
    title = f"output {worst}: [{int(verdict.lo[worst])}, {int(verdict.hi[worst])}]"
    return f'<td class="grid {style}" title="{text(title)}">{text(shown)}</td>'


def _observed(found: Diagnosis) -> str:
    rows = []
    for one in found.registers:
        for layer in found.unsafe(one.name):
            seen = layer.verdicts[one.name].seen
            if seen is not None and seen.watched:
                hit = int(seen.overflows.sum())
                samples = int((seen.by_sample > 0).sum())
                rows.append((layer.node, one.name, hit, seen.watched, str(seen.reached), samples))
    rows.sort(key=lambda row: -row[2])
    head = ("Layer", "Registers", "Left their register", "Sums watched", "Furthest", "Samples that did it")
    lead = f"On {found.samples} samples. Evidence about these samples only; registers proved safe were not watched."
    return section("Seen on data", "observed", lead, table(head, rows, numbers=(2, 3, 5)), "observed")


def _registers(found: Diagnosis) -> str:
    items = "".join(
        f"<h3>{text(one.name)} {chip('measured', 'tried') if one.checked else ''}</h3>"
        + facts(
            [
                ("Found in", one.found_in),
                ("Taken for granted", one.assumption),
                ("How that was tried", one.checked or Raw("<em>not tried</em>")),
            ]
        )
        for one in found.registers
    )
    return section("Registers", "", "What each kind of kernel is taken to do.", items, "registers")
