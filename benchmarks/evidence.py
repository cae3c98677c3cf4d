"""The table of docs/evidence.md, written from the result files: ``python -m benchmarks.evidence``.

Nothing is typed by hand between the markers; a test compares.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import RESULTS
from oaq.program.atomic import write_atomically

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "evidence.md"
MARKED: Final = re.compile(r"(<!-- evidence: begin -->\n).*?(<!-- evidence: end -->)", re.DOTALL)
Plain = Mapping[str, Any]


def _facts(plain: Plain) -> dict[str, str]:
    return dict(plain["facts"])


def _count(number: object) -> str:
    return f"{int(str(number)):,}"


def _soundness(plain: Plain) -> str:
    counts = plain["counts"]
    return (
        f"{_count(counts['programs'])} programs, {_count(counts['output integers compared'])} output integers, "
        f"{_count(counts['sums compared with proved totals'])} sums: {len(plain['differences'])} differ"
    )


def _files(plain: Plain) -> str:
    facts = _facts(plain)
    again = facts["judged again after a defect was mended"]
    return f"{_count(facts['files'])} files: {facts['defects']} defects ({again} were mended and judged again)"


def _plans(plain: Plain) -> str:
    facts = _facts(plain)
    return f"{_count(facts['cases'])} plans, {_count(facts['ran'])} of them run: {facts['crashes']} crashes"


def _mutants(plain: Plain) -> str:
    return (
        f"{plain['tried']} changes: {plain['killed']} noticed by tests, {plain['survived']} not, "
        f"{plain['equivalent']} that change nothing, each with the reason"
    )


def _certificates(plain: Plain) -> str:
    rows = [dict(row) for row in plain["rows"]]
    edits, missed = (sum(int(row[key]) for row in rows) for key in ("edits", "MISSED"))
    return f"{edits:,} edits of {len(rows)} files: {missed} missed"


def _onnx_graphs(plain: Plain) -> str:
    rows = {row["rule"]: row for row in map(dict, plain["rows"])}
    integers, drawn = rows["integers"], str(plain["command"]).partition("--graphs ")[2].partition(" ")[0]
    return (
        f"{_count(drawn)} graphs; {_count(integers['compared'])} integers that must be equal: "
        f"{integers['not equal']} are not; further {len(rows) - 2} rules name each other difference"
    )


def _tflite_graphs(plain: Plain) -> str:
    facts = _facts(plain)
    return (
        f"{_count(facts['graphs'])} graphs, {_count(facts['integers compared'])} integers: {_count(facts['equal'])} "
        f"graphs equal, {facts['explained']} explained by a documented rule, the others take no part"
    )


def _races(plain: Plain) -> str:
    facts = _facts(plain)
    return f"{_count(facts['runs'])} runs of {_count(facts['sessions'])} sessions: {facts['reports']} reports"


def _sets(plain: Plain) -> str:
    facts = _facts(plain)
    return f"{_count(facts['programs decided'])} programs decided: {facts['differences']} differ"


CLAIMS: Final[tuple[tuple[str, str, Callable[[Plain], str]], ...]] = (
    (
        "Ranges, sums, schedules and integers are those of an oracle that shares nothing with oaq",
        "soundness",
        _soundness,
    ),
    ("Broken files of every format end in integers or in one error, under sanitizers", "fuzz_files", _files),
    ("Broken plans never take native code out of its buffers, under sanitizers", "plan_fuzz", _plans),
    ("Tests notice when code that proofs and integers rest on is changed", "mutants", _mutants),
    ("Tests notice the defects that were once there", "seeded_defects", _mutants),
    ("The checker notices edits of a certificate", "mutate_certificates", _certificates),
    ("Random ONNX graphs give what ONNX Runtime computes", "differential_onnx", _onnx_graphs),
    ("Random TFLite graphs give the integers of LiteRT", "differential_tflite", _tflite_graphs),
    ("Threads race for nothing, under ThreadSanitizer", "races", _races),
    ("What is proved about sets of inputs holds for each", "robust_soundness", _sets),
)
"""(claim, result file, how its figures read)."""


def table(folder: Path = RESULTS) -> str:
    """Every claim, its figures, the command that tests it, the day it ran."""
    lines = ["| what is claimed | what was seen | by which command | on |", "|---|---|---|---|"]
    for claim, name, words in CLAIMS:
        plain = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        day = str(plain["environment"]["date"])[:10]
        lines.append(
            f"| {claim} | [{words(plain)}](../benchmarks/results/{name}.json) | `{plain['command']}` | {day} |"
        )
    return "\n".join(lines) + "\n"


def replaced(text: str, folder: Path = RESULTS) -> str:
    """The page with its table anew."""
    return MARKED.sub(lambda match: match[1] + table(folder) + match[2], text)


def main() -> int:
    """Write the page."""
    write_atomically(DOCUMENT, [replaced(DOCUMENT.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
