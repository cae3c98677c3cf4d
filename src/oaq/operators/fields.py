"""How the fields of an operator are stored, read off its dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import numpy as np

from oaq.numerics.requantize import Requantize
from oaq.operators.operator import Op

Stored = Literal["array", "requantize", "ints", "int", "bool", "str"]
"""An array of its own, the arrays of a ``Requantize``, or a value inside the header."""
SIMPLE: Final[Mapping[Any, Stored]] = {int: "int", bool: "bool", str: "str", Literal: "str", tuple: "ints"}


@cache
def stored_fields(value: type[Op]) -> Mapping[str, Stored]:
    """Each field of an operator's class, in order, and how it is stored.

    Raises:
        TypeError: a field is of a type that has no stored form.
    """
    hints = get_type_hints(value)
    return {field.name: _stored(hints[field.name], f"{value.__name__}.{field.name}") for field in fields(value)}  # type: ignore[arg-type]


@cache
def optional_fields(value: type[Op]) -> frozenset[str]:
    """The fields that are None unless they say something, and are stored only then."""
    return frozenset(field.name for field in fields(value) if field.default is None)  # type: ignore[arg-type]


def _origin(hint: Any) -> Any:  # noqa: ANN401 (a type hint)
    origin = get_origin(hint) or hint
    value = getattr(origin, "__value__", None)  # of an alias by name, which NDArray is from NumPy 2.5 on
    return origin if value is None else get_origin(value) or value


def _stored(hint: Any, name: str) -> Stored:  # noqa: ANN401 (a type hint)
    origin = _origin(hint)
    if origin is UnionType:
        origin = _origin(get_args(hint)[0])
    if origin is np.ndarray:
        return "array"
    if origin is Requantize:
        return "requantize"
    if origin not in SIMPLE:
        raise TypeError(f"{name}: {hint} has no stored form; a field is an array, a Requantize, integers or a name")
    return SIMPLE[origin]
