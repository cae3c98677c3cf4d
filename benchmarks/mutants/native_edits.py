"""Edits of a C++ file, found by patterns in lines of code; what does not compile is not a mutant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from benchmarks.mutants.edit import Edit, edit

PATTERNS: Final = (
    ("comparison", r"(?<![<>=!\-])<(?![<=a-z_])(?= )", "<="),
    ("comparison", r"<=(?= )", "<"),
    ("comparison", r"(?<![->=])>(?![>=])(?= [a-z0-9])", ">="),
    ("comparison", r">=(?= )", ">"),
    ("comparison", r"==", "!="),
    ("comparison", r"!=", "=="),
    ("sign", r"(?<= )\+(?= )", "-"),
    ("sign", r"(?<= )-(?= )", "+"),
    ("extreme", r"(?<=std::)min(?=[(<])", "max"),
    ("extreme", r"(?<=std::)max(?=[(<])", "min"),
    ("extreme", r"(?<=_mm256_)min(?=_)", "max"),
    ("extreme", r"(?<=_mm256_)max(?=_)", "min"),
    ("extreme", r"(?<=_mm512_)min(?=_)", "max"),
    ("extreme", r"(?<=_mm512_)max(?=_)", "min"),
    ("condition", r"&&", "||"),
    ("condition", r"\|\|", "&&"),
    ("branch", r"(?<=\bif \()(?=[^;{]*\) )", "false && "),
    ("call", r"_mm256_adds_epi16", "_mm256_add_epi16"),
)
CONSTANT: Final = re.compile(r"(?<![\w.])\d+(?![\w.])")


def native_edits(path: str, content: bytes) -> Iterator[Edit]:
    """Every edit of lines that are code and state no error."""
    at = 0
    for line in content.decode().splitlines(keepends=True):
        code = line.partition("//")[0]
        if not re.match(r"\s*(#|using|namespace|throw|static_assert|template|\*|/\*)", code) and "throw" not in code:
            yield from _of_line(path, content, at, code)
        at += len(line.encode())


def _of_line(path: str, content: bytes, at: int, code: str) -> Iterator[Edit]:
    if not code.isascii() or '"' in code:
        return
    for kind, pattern, text in PATTERNS:
        for hit in re.finditer(pattern, code):
            yield edit(path, kind, content, (at + hit.start(), at + hit.end()), text)
    for hit in CONSTANT.finditer(code):
        yield edit(path, "boundary", content, (at + hit.start(), at + hit.end()), str(int(hit[0]) + 1))
