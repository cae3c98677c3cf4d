"""How many of what, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def count_text(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count_text(1, "layer"), count_text(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def tally(operators: Iterable[str]) -> str:
    """Operators, the most frequent first.

    >>> tally(["Softmax", "Reshape", "Reshape"])
    '2 Reshape, Softmax'
    """
    counts = Counter(operators).most_common()
    return ", ".join(f"{count} {operator}" if count > 1 else operator for operator, count in counts)
