r"""Text that others wrote, made harmless to show: names in files reach terminals, pages and error messages.

A name may hold codes that clear a screen, marks that turn the direction of writing, line ends that begin a false
verdict, or two hundred thousand letters. What Python calls printable stays; any other character is shown by its
escape.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MOST_OF_A_NAME: Final = 120
MOST_OF_A_LINE: Final = 2000
MOST_OF_A_MESSAGE: Final = 6000
ELLIPSIS: Final = "\u2026"


def escape_text(text: object, limit: int = MOST_OF_A_LINE) -> str:
    r"""One line: control characters, line ends, direction marks, invisible characters and lone surrogates as escapes.

    Args:
        text: anything; ``str`` of it is shown.
        limit: most characters; a longer text loses its middle to an ellipsis.

    >>> escape_text("conv\x1b[2J\nSAFE\u202e")
    'conv\\x1b[2J\\nSAFE\\u202e'
    >>> escape_text("abcdefgh", 5)
    'ab\u2026gh'
    """
    text = str(text)
    if len(text) > limit:
        text = text[: (limit - 1) // 2] + ELLIPSIS + text[len(text) - limit // 2 :]
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def escape_name(text: object) -> str:
    """``escape_text``, as short as a name is shown."""
    return escape_text(text, MOST_OF_A_NAME)


def escape_lines(lines: Iterable[object], limit: int = MOST_OF_A_LINE) -> str:
    """Lines joined, each made visible by itself, so that none of them can be two."""
    return "\n".join(escape_text(line, limit) for line in lines)


def escape_message(text: str) -> str:
    """Text of several lines that are meant: all but line ends made visible, and the whole not longer than a screen."""
    escaped = escape_lines(text.split("\n"))
    return escaped if len(escaped) <= MOST_OF_A_MESSAGE else escaped[: MOST_OF_A_MESSAGE - 1] + ELLIPSIS
