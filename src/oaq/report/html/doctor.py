"""A diagnosis as one HTML file: a grid of layers and registers, unfolding into numbers."""

from __future__ import annotations

from importlib import resources

from oaq.doctor import Diagnosis, LayerDiagnosis, LayerVerdict
from oaq.doctor.diagnosis import sentence
from oaq.report.html.markup import Raw, chip, facts, section, table, text

STYLE = """
td.safe{background:color-mix(in srgb,#2a9d54 22%,transparent)}
td.part{background:color-mix(in srgb,#e0a100 30%,transparent)}
td.unsafe{background:color-mix(in srgb,#d03b3b 32%,transparent)}
td.grid,th.grid{text-align:center;white-space:nowrap;font-variant-numeric:tabular-nums}
"""


def render(diagnosis: Diagnosis) -> str:
    """The page as HTML text; no network, no scripts."""
    style = resources.files("oaq.report.html").joinpath("style.css").read_text(encoding="utf-8")
    parts = [_verdict(diagnosis), _grid(diagnosis), _registers(diagnosis)]
    if diagnosis.samples:
        parts.insert(2, _observed(diagnosis))
    if diagnosis.islands or diagnosis.notes:
        items = "".join(f"<li>{text(note)}</li>" for note in (*diagnosis.islands, *diagnosis.notes))
        parts.append(
            section("Notes", "", "What is not in the integers, and what was assumed.", f"<ul>{items}</ul>", "notes")
        )
    kicker = '<div class="over">oaq doctor</div>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(diagnosis.program)}: oaq doctor</title><style>{style}{STYLE}</style></head>"
        f"<body><main><header>{kicker}<h1>{text(diagnosis.program)}</h1></header>{''.join(parts)}"
        "<footer>Made by oaq, overflow-aware quantization.</footer></main></body></html>\n"
    )


def _verdict(diagnosis: Diagnosis) -> str:
    rows = []
    for register in diagnosis.registers:
        bad = diagnosis.unsafe(register.name)
        decides = "decides" if register.name in diagnosis.deciding else ""
        finding = f"every layer, {diagnosis.covered}" if not bad else sentence(bad[0], register.name)
        rows.append((register.name, f"{len(diagnosis.layers) - len(bad)} of {len(diagnosis.layers)}", decides, finding))
    head = ("Registers", "Layers proved", "", "Worst layer")
    lead = (
        "Safe on every register that decides."
        if diagnosis.is_safe
        else "A sum can leave its register: see below where."
    )
    if diagnosis.is_safe:
        return section("Safe", "proved", lead, table(head, rows, numbers=(1,)), "verdict")
    name = next(name for name in diagnosis.deciding if diagnosis.unsafe(name))
    remedy = (
        f"<p class=lead>What then: <code>oaq repair MODEL.onnx --registers {text(name)} --out FIXED.onnx</code> "
        "changes only the outputs that can leave their registers and proves the result; <code>oaq run MODEL</code> "
        "computes the file's own integers exactly as it is.</p>"
    )
    return section("Unsafe", "bad", lead, table(head, rows, numbers=(1,)) + remedy, "verdict")


def _grid(diagnosis: Diagnosis) -> str:
    names = [register.name for register in diagnosis.registers]
    head = "<th>Layer</th><th>Kind</th>" + "".join(f"<th class=grid>{text(name)}</th>" for name in names)
    rows = "".join(_row(layer, names) for layer in diagnosis.layers)
    body = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    lead = (
        "Outputs that some input can make wrong, and the bits the worst of them needs. Green: none, for "
        f"{diagnosis.covered}."
    )
    return section("Layers", "proved", lead, body, "layers")


def _row(layer: LayerDiagnosis, names: list[str]) -> str:
    cells = "".join(_grid_cell(layer, layer.verdicts[name]) for name in names)
    return f"<tr><td>{text(layer.node)}</td><td>{text(layer.kind)}, K {layer.terms}</td>{cells}</tr>"


def _grid_cell(layer: LayerDiagnosis, verdict: LayerVerdict) -> str:
    if verdict.is_safe:
        return '<td class="grid safe">safe</td>'
    if verdict.why:
        return f'<td class="grid unsafe" title="{text(verdict.why)}">undefined</td>'
    style = "unsafe" if 2 * len(verdict.unsafe) > layer.outputs else "part"
    summary = f"{len(verdict.unsafe)} of {layer.outputs}, {int(verdict.bits_needed.max())} bits"
    worst, (_, lo, hi) = verdict.worst, verdict.asked
    title = f"output {worst}: [{int(lo[worst])}, {int(hi[worst])}]"
    return f'<td class="grid {style}" title="{text(title)}">{text(summary)}</td>'


def _observed(diagnosis: Diagnosis) -> str:
    rows = []
    for register in diagnosis.registers:
        for layer in diagnosis.unsafe(register.name):
            sums = layer.verdicts[register.name].seen
            if sums is not None and sums.watched:
                hit = int(sums.overflows.sum())
                samples = int((sums.by_sample > 0).sum())
                rows.append((layer.node, register.name, hit, sums.watched, str(sums.reached), samples))
    rows.sort(key=lambda row: -row[2])
    head = ("Layer", "Registers", "Left their register", "Sums watched", "Furthest", "Samples that did it")
    lead = f"On {diagnosis.samples} samples. Evidence about these samples only; registers proved safe were not watched."
    return section("Seen on data", "observed", lead, table(head, rows, numbers=(2, 3, 5)), "observed")


def _registers(diagnosis: Diagnosis) -> str:
    items = "".join(
        f"<h3>{text(register.name)} {chip('measured', 'tried') if register.checked else ''}</h3>"
        + facts(
            [
                ("Found in", register.found_in),
                ("Taken for granted", register.assumption),
                ("How that was tried", register.checked or Raw("<em>not tried</em>")),
            ]
        )
        for register in diagnosis.registers
    )
    return section("Registers", "", "What each kind of kernel is taken to do.", items, "registers")
