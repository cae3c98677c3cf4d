"""A diagnosis in a terminal: sentences first, then a line per layer."""

from __future__ import annotations

from pathlib import Path

from oaq.doctor import Diagnosis, LayerDiagnosis, Verdict
from oaq.doctor.diagnosis import advice, sentence
from oaq.doctor.trigger import Trigger
from oaq.terminal.table import Table


def headlines(found: Diagnosis, model: str) -> list[str]:
    """What a reader came for: safe or not, where worst, what to do.

    Args:
        found: the diagnosis.
        model: the file, for the commands that are proposed.
    """
    lines = [f"{found.program}: {'SAFE' if found.is_safe else 'UNSAFE'}, decided by {', '.join(found.deciding)}"]
    total = len(found.layers)
    for register in found.registers:
        name, bad = register.name, found.unsafe(register.name)
        shown = "" if name in found.deciding else " (does not decide)"
        if not bad:
            lines.append(f"  {name}: proved for {total} of {total} layers, for every input{shown}")
            continue
        lines.append(f"  {name}: {len(bad)} of {total} layers are not safe{shown}; worst:")
        lines.append(f"    {sentence(bad[0], name)}")
        lines += [f"    observed: {_seen(found, name)}"] if found.samples else []
    first = next((name for name in found.deciding if found.unsafe(name)), None)
    if first is not None:
        lines.append(f"  {advice(found.unsafe(first)[0], first, model)}")
    lines += [f"  stays in float: {one}" for one in found.islands]
    lines += [f"  note: {one}" for one in found.notes]
    return lines


def _seen(found: Diagnosis, name: str) -> str:
    seen = [(layer, layer.verdicts[name].seen) for layer in found.layers]
    hit = [(layer, one) for layer, one in seen if one is not None and one.overflows.any()]
    if not hit:
        return f"no register was left on {found.samples} samples; another input may"
    total = sum(int(one.overflows.sum()) for _, one in hit)
    layer, one = max(hit, key=lambda each: int(each[1].overflows.sum()))
    return (
        f"{total} sums left their register on {found.samples} samples, in {len(hit)} layers; most in {layer.node} "
        f"({int(one.overflows.sum())})"
    )


def layer_tables(found: Diagnosis) -> list[Table]:
    """Every layer on every register; with data, a second table of what was seen."""
    names = [one.name for one in found.registers]
    head = ("layer", "kind", "K", *names)
    rows = tuple(
        (layer.node, layer.kind, str(layer.terms), *(_cell(layer, layer.verdicts[name]) for name in names))
        for layer in found.layers
    )
    title = "For every input: ok, or outputs that are unsafe and the bits they need"
    result = [Table(title, head, rows, frozenset({2}))]
    if found.samples:
        seen = tuple(
            (layer.node, *(_seen_cell(layer.verdicts[name]) for name in names))
            for layer in found.layers
            if any(not layer.verdicts[name].is_safe for name in names)
        )
        title = f"Observed on {found.samples} samples (no proof): sums that left their register, and how far sums went"
        result.append(Table(title, ("layer", *names), seen))
    return result


def _cell(layer: LayerDiagnosis, verdict: Verdict) -> str:
    if verdict.is_safe:
        return "ok"
    if verdict.why:
        return "undefined"
    return f"{len(verdict.unsafe)}/{layer.outputs} {int(verdict.bits.max())}b"


def _seen_cell(verdict: Verdict) -> str:
    if verdict.is_safe or verdict.seen is None:
        return "proved"
    reached = verdict.seen.reached
    return f"{int(verdict.seen.overflows.sum())}, [{reached.lo}, {reached.hi}]"


def output_table(found: Diagnosis, node: str, output: int) -> Table:
    """One output of one layer, register by register."""
    layer = found[node]
    rows = []
    for name, one in layer.verdicts.items():
        runs = int(one.runs[output])
        seen = "" if one.seen is None else f"{int(one.seen.overflows[output])} overflows"
        rows.append(
            (
                name,
                "safe" if one.safe[output] else "unsafe",
                str(int(one.bits[output])),
                f"[{int(one.lo[output])}, {int(one.hi[output])}]",
                "no number of spills helps" if runs < 0 else f"{runs} runs",
                seen,
            )
        )
    head = ("register", "for every input", "bits needed", "asked to hold", "enough spills", "observed")
    return Table(f"{node}, output {output}", head, tuple(rows), frozenset({2}))


def trigger_lines(found: Trigger, out: Path | None) -> list[str]:
    """What drives a register out, and whether an input of the whole network does."""
    low, high = found.limit
    lines = [
        f"{found.node}, output {found.output} on {found.register}: a register of [{low}, {high}] is asked to hold "
        f"{found.reached}",
        f"  by this layer input: uint8 {found.tensor.shape}, at output position {found.position}",
    ]
    if not found.leaves:
        lines[0] = (
            f"{found.node}, output {found.output} on {found.register}: with the ranges proved for every channel its "
            f"registers reach {found.reached} of [{low}, {high}] at most; the bound of oaq doctor takes the whole range"
        )
    if found.lost is not None and found.leaves:
        wrong = "low" if found.lost > 0 else "high"
        lines.append(f"  where registers saturate, the sum comes out {abs(found.lost)} too {wrong}")
    match found.how:
        case "built":
            lines.append("  an input of the whole network does exactly that: the layer reads nothing else")
        case "data":
            lines.append(f"  observed: an input of the data given asks a register to hold {found.network_reached}")
        case "search":
            lines.append(
                f"  found by search, {found.trials} inputs: one asks a register to hold {found.network_reached}"
            )
        case "not found":
            nearest = "" if found.network_reached is None else f"; the nearest came to {found.network_reached}"
            lines.append(
                f"  no input of the whole network was found in {found.trials} tried{nearest}. That proves nothing: "
                "another may do it"
            )
    if out is not None:
        which = "layer's input, uint8" if found.network is None else "network's input, float32"
        lines.append(f"  {out}: the {which}")
    return lines


def trigger_document(found: Trigger) -> dict[str, object]:
    """The same as plain values."""
    return {
        "node": found.node,
        "output": found.output,
        "register": found.register,
        "limit": list(found.limit),
        "reached": found.reached,
        "position": found.position,
        "lost": found.lost,
        "network_input": found.how,
        "network_reached": found.network_reached,
        "trials": found.trials,
    }
