"""docs/coverage-networks.md says what its result file says."""

from __future__ import annotations

from benchmarks import coverage_networks as page

ROW = {
    "network": "net",
    "kind": "residual",
    "peer sqnr": "20.00",
    "onnx none outcome": "integers",
    "onnx none sqnr": "19.50",
    "onnx default sqnr": "17.00",
    "onnx default hint": "no",
    "torch none outcome": "refused",
    "torch none reason": "oaq: /a/b/float.onnx: node 'x' (Y): a | b",
}


def test_the_page_holds_what_the_file_holds() -> None:
    text = page.DOCUMENT.read_text(encoding="utf-8")
    assert page.replaced(text) == text, "run: python -m benchmarks.coverage_networks"


def test_what_is_missed_is_counted() -> None:
    lines = page.summary([ROW]).splitlines()
    assert lines[2] == "| onnx | 1 of 1 | 1 | 1 of 1 | 1 |"
    assert lines[3] == "| torch | 0 of 1 | 0 | 0 of 0 | 0 |"
    assert "| 1 of 1 | 0 |" in page.summary([ROW | {"onnx default hint": "yes"}])


def test_reasons_name_no_folder_and_break_no_table() -> None:
    assert "| net | torch | float.onnx: node 'x' (Y): a / b |" in page.floats([ROW])
