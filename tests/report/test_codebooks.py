"""Piecewise weights in a report: counted on the program, precision from the evidence, absent where there are none."""

from __future__ import annotations

import dataclasses
import json

from oaq.program.codebook_facts import CodebookFacts
from oaq.program.files import Part
from oaq.report import Evidence
from oaq.report.codebooks import codebook_facts, codebook_table
from oaq.report.codec import without_empty
from oaq.report.evidence_part import EVIDENCE, evidence_part, stored_evidence
from tests.program.test_codes import coded


def test_shares_are_counted_on_the_program() -> None:
    facts = codebook_facts(coded(4))
    assert [(layer.name, layer.bits, sum(layer.outputs)) for layer in facts] == [("conv", 4, 5), ("dense", 4, 4)]
    assert all(layer.sqnr_db is None for layer in facts)
    assert codebook_facts(dataclasses.replace(coded(4), metadata={})) == ()


def test_precision_that_was_noted_holds_for_these_integers_only() -> None:
    conv, dense = codebook_facts(coded(4))
    noted = dataclasses.replace(conv, sqnr_db=30.0), dataclasses.replace(dense, tail=0.0, sqnr_db=31.0)
    assert [layer.sqnr_db for layer in codebook_facts(coded(4), noted)] == [30.0, None]


def test_evidence_without_codebooks_is_stored_as_it_was_before_there_were_any() -> None:
    part = evidence_part(Evidence())
    assert "codebooks" not in part.content
    assert stored_evidence({EVIDENCE: part}, "p") == Evidence()
    evidence = Evidence(codebooks=(CodebookFacts("a", 4, (1, 2, 3, 4), 0.25, 20.0, float("inf"), 19.0),))
    content = json.loads(json.dumps(evidence_part(evidence).content))
    assert stored_evidence({EVIDENCE: Part(content)}, "p") == evidence
    assert without_empty({"codebooks": [], "notes": []}) == {"notes": []}


def test_the_table_has_a_line_per_layer_and_one_for_all() -> None:
    first = CodebookFacts("a", 4, (1, 1, 0, 0), 0.5, 20.0, 21.0, 19.5)
    table = codebook_table((first, CodebookFacts("b", 3, (0, 0, 6, 0), 0.1)))
    assert table.rows[0] == ("a", "4", "5", "50.0 %", "50.0 %", "0 %", "0 %", "50.0 %", "20.0", "21.0", "19.5")
    assert table.rows[1][-3:] == ("-", "-", "-")
    assert table.rows[2] == ("all", "", "", "12.5 %", "12.5 %", "75.0 %", "0 %", "20.0 %", "-", "-", "-")
    assert len(codebook_table((first,)).rows) == 1
