"""Frozen dataclasses to JSON values and back, by their type hints; unknown or missing keys are errors."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from functools import lru_cache

from oaq.errors import FormatError

T = typing.TypeVar("T")
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

LATER: typing.Final = "later"
"""Key of a field's metadata: it was added later, and is written only where it is not None."""


def encode(value: object) -> Json:
    """A frozen dataclass, tuple, frozen set (sorted) or scalar as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {f.name: encode(item) for f, item in values if item is not None or LATER not in f.metadata}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return [encode(item) for item in sorted(value)]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            raise ValueError("a record holds no NaN")
        return "inf" if value > 0 else "-inf"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a record holds plain values, not {type(value).__name__}: {value!r}")


def decode(kind: type[T], value: Json, where: str) -> T:
    """Build ``kind`` from JSON values.

    Raises:
        FormatError: the value is of another shape; the message names the place.
    """
    return typing.cast(T, _decode(kind, value, where))


def _decode(annotation: object, value: Json, where: str) -> object:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return None if value is None else _decode(inner[0], value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(annotation):
            raise FormatError(f"{where}: is one of {typing.get_args(annotation)}, not {value!r}")
        return value
    if origin is tuple:
        return _decode_tuple(typing.get_args(annotation), value, where)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _decode_dataclass(annotation, value, where)
    return _decode_scalar(annotation, value, where)


def _decode_tuple(kinds: tuple[object, ...], value: Json, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise FormatError(f"{where}: is a list, not {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decode(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(kinds) != len(value):
        raise FormatError(f"{where}: holds {len(kinds)} values, not {len(value)}")
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _decode_dataclass(kind: type, value: Json, where: str) -> object:
    if not isinstance(value, dict):
        raise FormatError(f"{where}: is an object, not {value!r}")
    hints = _hints(kind)
    later = {f.name for f in dataclasses.fields(kind) if LATER in f.metadata}
    if set(hints) - later != set(value) - later:
        missing, extra = sorted(set(hints) - set(value) - later), sorted(set(value) - set(hints))
        raise FormatError(f"{where}: missing keys {missing}, unknown keys {extra}")
    try:
        return kind(**{key: _decode(hints[key], item, f"{where}.{key}") for key, item in value.items()})
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}: {error}") from error


def _decode_scalar(annotation: object, value: Json, where: str) -> object:
    if annotation is float and value in ("inf", "-inf"):
        return float(typing.cast(str, value))
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise FormatError(f"{where}: a whole number of {value.bit_length()} bits is beyond float64") from error
    if annotation is float and isinstance(value, float) and math.isnan(value):
        raise FormatError(f"{where}: is not a number (NaN)")
    if not isinstance(annotation, type) or type(value) is not annotation:
        raise FormatError(f"{where}: is a {getattr(annotation, '__name__', annotation)}, not {value!r}")
    return value


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, object]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}
