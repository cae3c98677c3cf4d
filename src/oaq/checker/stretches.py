"""Memory moved in stretches: how far apart the neighbours of each stretch lie, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from oaq.checker.program import Node
from oaq.errors import FormatError

MOST = 8
"""Stretches of one movement."""


@dataclass(frozen=True)
class Stretch:
    """``size`` neighbours that lie ``before`` elements apart in what is read, ``after`` in what is written."""

    size: int
    before: int
    after: int


def stretches_of(node: Node, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of a Transpose's stretches, the slowest first, and their order in what is written.

    Raises:
        FormatError: they are no stretches, or do not fill ``x`` and ``y``.
    """
    listed = node.fields.get("split")
    count = len(listed) if isinstance(listed, list) else 0
    split, order = node.numbers("split", count), node.numbers("order", count)
    if not 1 <= count <= MOST or sorted(order) != list(range(count)) or min(split) < 1:
        raise FormatError(f"{node.name}: {str(split)[:40]} and {str(order)[:40]} are not stretches and their order")
    if not prod(split) == prod(x) == prod(y):
        raise FormatError(f"{node.name}: stretches of {split} are not {x}, or not {y}")
    return split, order


def stretches(node: Node, x: tuple[int, ...], y: tuple[int, ...]) -> list[Stretch]:
    """Stretches of a Transpose, none of which holds both channels and positions, on either side.

    Raises:
        FormatError: they do not fill ``x`` and ``y``, or channels begin inside one.
    """
    split, order = stretches_of(node, x, y)
    after, step = {}, 1
    for place in reversed(order):
        after[place], step = step, step * split[place]
    parts, step = list[Stretch](), 1
    for place in reversed(range(len(split))):
        parts.append(Stretch(split[place], step, after[place]))
        step *= split[place]
    parts = [half for part in parts for half in _halves(node, part, part.before, x[-1])]
    return [half for part in parts for half in _halves(node, part, part.after, y[-1])]


def _halves(node: Node, part: Stretch, step: int, channels: int) -> list[Stretch]:
    """``part`` in two where ``channels`` elements end inside it."""
    if not step < channels < step * part.size:
        return [part]
    inner, uneven = divmod(channels, step)
    if uneven or part.size % inner:
        raise FormatError(f"{node.name}: {channels} channels end inside a stretch of {part.size} by {step}")
    outer = Stretch(part.size // inner, part.before * inner, part.after * inner)
    return [Stretch(inner, part.before, part.after), outer]
