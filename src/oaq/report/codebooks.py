"""Piecewise weights in a report: which tail steps outputs took, what lies in the tails, and what that was worth."""

from __future__ import annotations

from collections.abc import Sequence

from oaq.numerics.codebook import MOST_STEP
from oaq.program.codebook_facts import CodebookFacts, integer_facts
from oaq.program.codes import coded_layers
from oaq.program.int_program import IntProgram
from oaq.report import words
from oaq.terminal.table import Table


def codebook_facts(program: IntProgram, noted: Sequence[CodebookFacts] = ()) -> tuple[CodebookFacts, ...]:
    """Facts of every layer whose weights are of a codebook, in order.

    Args:
        program: of which shares are counted.
        noted: when the network was quantized, precision included; a layer whose integers are not those any more
            is counted again, without it.
    """
    by_name = {facts.name: facts for facts in noted}
    result = []
    for name, (bits, step) in coded_layers(program).items():
        counted = integer_facts(name, program.by_name[name].products.rows, bits, step)
        earlier = by_name.get(name)
        agrees = earlier is not None and (earlier.bits, earlier.outputs, earlier.tail) == (
            bits,
            counted.outputs,
            counted.tail,
        )
        result.append(earlier if earlier is not None and agrees else counted)
    return tuple(result)


def codebook_table(layers: Sequence[CodebookFacts]) -> Table:
    """One line per layer, and one for all where there are several."""
    rows = [_line(facts.name, str(facts.bits), str(facts.bits + 1), facts) for facts in layers]
    if len(layers) > 1:
        outputs = tuple(sum(facts.outputs[at] for facts in layers) for at in range(MOST_STEP))
        rows.append(_line("all", "", "", CodebookFacts("all", 0, outputs, _mean_tail(layers))))
    steps = tuple(f"r = {step}" for step in range(1, MOST_STEP + 1))
    head = ("layer", "b", "stored bits", *steps, "in tails", "SQNR dB", "nearest", "uniform, same bits")
    return Table("Piecewise weights", head, tuple(rows), frozenset(range(1, len(head))))


def _line(name: str, bits: str, stored: str, facts: CodebookFacts) -> tuple[str, ...]:
    outputs = max(sum(facts.outputs), 1)
    shares = (words.percent(count / outputs) for count in facts.outputs)
    figures = (
        "-" if value is None else f"{value:.1f}" for value in (facts.sqnr_db, facts.nearest_db, facts.uniform_db)
    )
    return name, bits, stored, *shares, words.percent(facts.tail), *figures


def _mean_tail(layers: Sequence[CodebookFacts]) -> float:
    """Weighted by outputs, as the shares beside it are."""
    outputs = sum(sum(facts.outputs) for facts in layers)
    return sum(facts.tail * sum(facts.outputs) for facts in layers) / max(outputs, 1)
