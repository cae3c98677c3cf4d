"""Pickles and deep copies of immutable values: rebuilt by their constructors, so that each is checked and frozen again.

A plain pickle would restore attributes behind the constructor's back: arrays that are writable, invariants unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Flat:
    """A value as its class and the arguments of its constructor, by name."""

    kind: type
    arguments: dict[str, Any]


def flatten(value: object) -> object:
    """Dataclasses as ``Flat``, read-only mappings as dictionaries, all else as it is.

    One object that occurs in several places stays one object.
    """
    return _flatten(value, {})


def rebuild(flat: object) -> Any:  # noqa: ANN401 (whatever was flattened)
    """The value that ``flatten`` took apart, made by the constructors of its parts.

    Raises:
        OaqError: the parts break an invariant of the value.
    """
    return _rebuild(flat, {})


def _flatten(value: object, memo: dict[int, tuple[object, object]]) -> object:
    if id(value) in memo:
        return memo[id(value)][1]
    flat = value
    if is_dataclass(value) and not isinstance(value, type):
        arguments = {field.name: _flatten(getattr(value, field.name), memo) for field in fields(value) if field.init}
        flat = Flat(type(value), arguments)
    elif isinstance(value, Mapping):
        flat = {key: _flatten(part, memo) for key, part in value.items()}
    elif type(value) in (tuple, list):
        flat = type(value)(_flatten(part, memo) for part in value)  # type: ignore[call-arg]
    memo[id(value)] = (value, flat)  # the value too, so that its id stays its own
    return flat


def _rebuild(flat: object, memo: dict[int, object]) -> object:
    if id(flat) in memo:
        return memo[id(flat)]
    value = flat
    if isinstance(flat, Flat):
        value = flat.kind(**{name: _rebuild(part, memo) for name, part in flat.arguments.items()})
    elif isinstance(flat, dict):
        value = {key: _rebuild(part, memo) for key, part in flat.items()}
    elif type(flat) in (tuple, list):
        value = type(flat)(_rebuild(part, memo) for part in flat)  # type: ignore[call-arg]
    memo[id(flat)] = value
    return value
