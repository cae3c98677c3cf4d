"""Attributes of a node, of the type that its operator wants."""

from __future__ import annotations

from typing import TypeVar

from oaq.capture.from_onnx.graph import OnnxNode, Value
from oaq.errors import FormatError

Kind = TypeVar("Kind", int, float, str)


def integer(node: OnnxNode, name: str, default: int) -> int:
    """One integer."""
    return _typed(node, name, default, int)


def real(node: OnnxNode, name: str, default: float) -> float:
    """One float."""
    return _typed(node, name, default, float)


def text(node: OnnxNode, name: str, default: str) -> str:
    """One string."""
    return _typed(node, name, default, str)


def integers(node: OnnxNode, name: str, length: int | None = None) -> tuple[int, ...] | None:
    """A list of integers, of that length if one is asked for; None if the node has none.

    Raises:
        FormatError: it is something else.
    """
    value = node.attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise _wrong(node, name, value, "integers")
    if length is not None and len(value) != length:
        raise _wrong(node, name, value, f"{length} integers")
    return tuple(int(item) for item in value)


def reals(node: OnnxNode, name: str) -> tuple[float, ...]:
    """A list of numbers; empty if the node has none.

    Raises:
        FormatError: it is something else.
    """
    value = node.attributes.get(name, ())
    if not isinstance(value, tuple) or not all(isinstance(item, int | float) for item in value):
        raise _wrong(node, name, value, "numbers")
    return tuple(float(item) for item in value)


def described(node: OnnxNode) -> str:
    """``node 'conv1' (Conv)``, as messages begin."""
    return f"node {node.name!r} ({node.kind})"


def _typed(node: OnnxNode, name: str, default: Kind, kind: type[Kind]) -> Kind:
    value = node.attributes.get(name, default)
    if not isinstance(value, kind):
        raise _wrong(node, name, value, {int: "an integer", float: "a number", str: "a text"}[kind])
    return value


def _wrong(node: OnnxNode, name: str, value: Value, expected: str) -> FormatError:
    return FormatError(f"{described(node)}: attribute {name!r} is {expected}, not {str(value)[:60]}")
