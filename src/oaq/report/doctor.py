"""A diagnosis in a terminal: sentences first, then a line per layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oaq.doctor import Diagnosis, LayerDiagnosis, LayerVerdict
from oaq.doctor.diagnosis import advice, sentence
from oaq.doctor.trigger import Trigger
from oaq.escape import escape_text
from oaq.terminal.table import Table


def headlines(diagnosis: Diagnosis, model: str) -> list[str]:
    """What a reader came for: safe or not, where worst, what to do.

    Args:
        diagnosis: the diagnosis.
        model: the file, for the commands that are proposed.
    """
    lines = [
        f"{diagnosis.program}: {'SAFE' if diagnosis.is_safe else 'UNSAFE'}, decided by {', '.join(diagnosis.deciding)}"
    ]
    total = len(diagnosis.layers)
    for register in diagnosis.registers:
        name, bad = register.name, diagnosis.unsafe(register.name)
        suffix = "" if name in diagnosis.deciding else " (does not decide)"
        if not bad:
            lines.append(f"  {name}: proved for {total} of {total} layers, for {diagnosis.covered}{suffix}")
            continue
        lines.append(f"  {name}: {len(bad)} of {total} layers are not safe{suffix}; worst:")
        lines.append(f"    {sentence(bad[0], name)}")
        lines += [f"    observed: {_overflow_sentence(diagnosis, name)}"] if diagnosis.samples else []
    first = next((name for name in diagnosis.deciding if diagnosis.unsafe(name)), None)
    if first is not None and not diagnosis.condition:
        lines.append(f"  {advice(diagnosis.unsafe(first)[0], first, model)}")
    lines += [f"  stays in float: {island}" for island in diagnosis.islands]
    lines += [f"  note: {note}" for note in folded(diagnosis.notes)]
    return [escape_text(line) for line in lines]


def folded(notes: Sequence[str]) -> list[str]:
    """Notes that say the same of several layers, "NAME: ...", as one that names the first and counts the others.

    >>> folded(["a: is float", "b: is float", "c: is float", "nothing else"])
    ['a and 2 others: is float', 'nothing else']
    """
    names: dict[str, list[str]] = {}
    for note in notes:
        name, colon, rest = note.partition(": ")
        names.setdefault(rest if colon else note, []).append(name if colon else "")
    return [
        text if not of_notes[0] else f"{of_notes[0]}{_others(len(of_notes) - 1)}: {text}"
        for text, of_notes in names.items()
    ]


def _others(count: int) -> str:
    return "" if not count else " and 1 other" if count == 1 else f" and {count} others"


def _overflow_sentence(diagnosis: Diagnosis, name: str) -> str:
    watched = [(layer, layer.verdicts[name].seen) for layer in diagnosis.layers]
    hit = [(layer, sums) for layer, sums in watched if sums is not None and sums.overflows.any()]
    if not hit:
        return f"no register was left on {diagnosis.samples} samples; another input may"
    total = sum(int(sums.overflows.sum()) for _, sums in hit)
    layer, worst = max(hit, key=lambda pair: int(pair[1].overflows.sum()))
    return (
        f"{total} sums left their register on {diagnosis.samples} samples, in {len(hit)} layers; most in {layer.node} "
        f"({int(worst.overflows.sum())})"
    )


def layer_tables(diagnosis: Diagnosis) -> list[Table]:
    """Every layer on every register; with data, a second table of what was seen."""
    names = [register.name for register in diagnosis.registers]
    head = ("layer", "kind", "K", *names)
    rows = tuple(
        (layer.node, layer.kind, str(layer.terms), *(_cell(layer, layer.verdicts[name]) for name in names))
        for layer in diagnosis.layers
    )
    title = f"For {diagnosis.covered}: ok, or outputs that are unsafe and the bits they need"
    result = [Table(title, head, rows, frozenset({2}))]
    if diagnosis.samples:
        observations = tuple(
            (layer.node, *(_observed_cell(layer.verdicts[name]) for name in names))
            for layer in diagnosis.layers
            if any(not layer.verdicts[name].is_safe for name in names)
        )
        title = (
            f"Observed on {diagnosis.samples} samples (no proof): sums that left their register, and how far sums went"
        )
        result.append(Table(title, ("layer", *names), observations))
    return result


def _cell(layer: LayerDiagnosis, verdict: LayerVerdict) -> str:
    if verdict.is_safe:
        return "ok"
    if verdict.why:
        return "undefined"
    return f"{len(verdict.unsafe)}/{layer.outputs} {int(verdict.bits_needed.max())}b"


def _observed_cell(verdict: LayerVerdict) -> str:
    if verdict.is_safe or verdict.seen is None:
        return "proved"
    extremes = verdict.seen.reached
    return f"{int(verdict.seen.overflows.sum())}, [{extremes.lo}, {extremes.hi}]"


def output_table(diagnosis: Diagnosis, node: str, output: int) -> Table:
    """One output of one layer, register by register."""
    layer = diagnosis[node]
    rows = []
    for name, verdict in layer.verdicts.items():
        runs = int(verdict.runs[output])
        low, high = (int(end[output]) for end in verdict.total)
        overflows = "" if verdict.seen is None else f"{int(verdict.seen.overflows[output])} overflows"
        rows.append(
            (
                name,
                "safe" if verdict.safe[output] else "unsafe",
                str(int(verdict.bits[output])),
                f"[{int(verdict.lo[output])}, {int(verdict.hi[output])}]",
                "no number of spills helps" if runs < 0 else f"{runs} runs",
                f"[{low}, {high}]",
                overflows,
            )
        )
    head = (
        "register",
        f"for {diagnosis.covered}",
        "bits needed",
        "asked to hold",
        "enough spills",
        "32 bits, with bias",
        "observed",
    )
    return Table(f"{node}, output {output}", head, tuple(rows), frozenset({2}))


def trigger_lines(trigger: Trigger, out: Path | None) -> list[str]:
    """What drives a register out, and whether an input of the whole network does."""
    low, high = trigger.limit
    place = f"{trigger.node}, output {trigger.output} on {trigger.register}"
    lines = [
        f"{place}: a register of [{low}, {high}] is asked to hold {trigger.reached}",
        f"  by this layer input: uint8 {trigger.tensor.shape}, at output position {trigger.position}",
    ]
    if not trigger.leaves:
        lines[0] = (
            f"{place}: with the ranges proved for every channel its registers reach {trigger.reached} of "
            f"[{low}, {high}] at most; the bound of oaq doctor takes the whole range"
        )
    if trigger.lost is not None and trigger.leaves:
        wrong = "low" if trigger.lost > 0 else "high"
        lines.append(f"  where registers saturate, the sum comes out {abs(trigger.lost)} too {wrong}")
    match trigger.how:
        case "built":
            lines.append("  an input of the whole network does exactly that: the layer reads nothing else")
        case "data":
            lines.append(f"  observed: an input of the data given asks a register to hold {trigger.network_reached}")
        case "search":
            lines.append(
                f"  found by search, {trigger.trials} inputs: one asks a register to hold {trigger.network_reached}"
            )
        case "not found":
            nearest = "" if trigger.network_reached is None else f"; the nearest came to {trigger.network_reached}"
            lines.append(
                f"  no input of the whole network was found in {trigger.trials} tried{nearest}. That proves nothing: "
                "another may do it"
            )
    if out is not None:
        kind = "layer's input, uint8" if trigger.network is None else "network's input, float32"
        lines.append(f"  {out}: the {kind}")
    return [escape_text(line) for line in lines]


def trigger_document(trigger: Trigger) -> dict[str, object]:
    """A trigger as plain values, for JSON."""
    return {
        "node": trigger.node,
        "output": trigger.output,
        "register": trigger.register,
        "limit": list(trigger.limit),
        "reached": trigger.reached,
        "position": trigger.position,
        "lost": trigger.lost,
        "network_input": trigger.how,
        "network_reached": trigger.network_reached,
        "trials": trigger.trials,
    }
