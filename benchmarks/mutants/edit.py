"""One defect: a span of a file, and what stands there instead."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """A mutant.

    Attributes:
        path: of the file, from the root of the source.
        kind: "comparison", "boundary", "sign", "extreme", "condition", "branch" or "call".
        line: number, from 1.
        begin: first byte of the file that is replaced.
        end: first byte behind it.
        text: put there.
        before: the line as it is, without spaces around it.
        after: the line as it becomes.
    """

    path: str
    kind: str
    line: int
    begin: int
    end: int
    text: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """Twelve hex digits that stay as long as the line does, wherever it moves to."""
        return hashlib.sha256("\0".join((self.path, self.before, self.after)).encode()).hexdigest()[:12]

    def applied(self, content: bytes) -> bytes:
        """The file with the defect."""
        return content[: self.begin] + self.text.encode() + content[self.end :]


def edit(path: str, kind: str, content: bytes, span: tuple[int, int], text: str) -> Edit:
    """An edit of ``span``, with the lines it changes."""
    begin, end = span
    line_begin = content.rfind(b"\n", 0, begin) + 1
    line_end = content.find(b"\n", end)
    line_end = len(content) if line_end < 0 else line_end
    before = content[line_begin:line_end].decode().strip()
    after = (content[line_begin:begin] + text.encode() + content[end:line_end]).decode().strip()
    return Edit(path, kind, content.count(b"\n", 0, begin) + 1, begin, end, text, before, after)
